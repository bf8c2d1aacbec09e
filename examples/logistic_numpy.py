"""Logistic regression in NumPy: a house is above the training median, or not.

For the labels y, 1 above the median and 0 elsewhere:

    logit        z = X w + b              probability  p = 1 / (1 + e^-z)
    loss         L = mean(-y log p - (1 - y) log(1 - p)) = mean(max(z, 0) - y z + log(1 + e^-|z|))
    gradient     dL/dw = 1/r X^T (p - y)  dL/db = 1/r sum(p - y)

The second form of the loss overflows for no z. (Bishop: Pattern Recognition and Machine Learning, 2006,
section 4.3.2.)
"""

from __future__ import annotations

import time

import numpy as np

from db.history import Float32s, History, State
from job.data.dataset import Dataset
from job.models.base import LinearRegression


def cross_entropy(z: Float32s, y: Float32s) -> np.float32:
    """L of logits [r, 1] and labels [r, 1]."""
    loss: np.float32 = np.mean(np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z))))
    return loss


class Logistic(LinearRegression):
    """Full-batch gradient descent in float32, from the regression's start."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """Of the logit, the logarithm of the odds."""
        return tuple(f"logit {name}" for name in super().parameter_names(dataset))

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        # Normalising keeps the order, so this is the question of the values in the table's units.
        median = np.median(dataset.train_y)
        self.train_y, self.test_y = (
            (y > median).astype("float32") for y in (dataset.train_y, dataset.test_y)
        )

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        history = History.empty(epochs, len(self.parameters), self.epoch)
        w, b = self.parameters[:-1, None], self.parameters[-1]
        for i in range(epochs):
            z = self.train_x @ w + b
            history.train_loss[i] = cross_entropy(z, self.train_y)
            history.test_loss[i] = cross_entropy(self.test_x @ w + b, self.test_y)

            step = (1 / (1 + np.exp(-z)) - self.train_y) / np.float32(len(z))
            w = w - self.learning_rate * (self.train_x.T @ step)
            b = b - self.learning_rate * step.sum()

            history.parameters[i] = self.parameters = np.append(w, b)
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
