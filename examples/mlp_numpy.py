"""A network with one hidden layer of 16 units, in NumPy: the forward pass, then backpropagation by hand.

    hidden       h = tanh(X V + c)        prediction  p = h w + b        loss  L = mean((p - y)^2)
    gradients    d = 2/r (p - y)          dL/dw = h^T d                  dL/db = sum(d)
                 e = d w^T * (1 - h^2)    dL/dV = X^T e                  dL/dc = sum(e) by columns

(Goodfellow, Bengio, Courville: Deep Learning, 2016, section 6.5.)
"""

from __future__ import annotations

import time

import numpy as np

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import Model

UNITS = range(16)


class MLP(Model):
    """Full-batch gradient descent in float32. V is [k, 16], c [16], w [16, 1], b [1]."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """Those of V row by row, c, w, b."""
        v = (f"{feature} to unit {j}" for feature in dataset.features for j in UNITS)
        return (*v, *(f"bias of unit {j}" for j in UNITS), *(f"unit {j}" for j in UNITS), "bias")

    @classmethod
    def initial(cls, dataset: Dataset, seed: int) -> State:
        """Normal weights, divided by the root of the number of inputs; biases 0."""
        random, k, h = np.random.RandomState(seed), len(dataset.features), len(UNITS)
        parts = random.randn(k * h) / k**0.5, np.zeros(h), random.randn(h) / h**0.5, np.zeros(1)
        return State(np.concatenate(parts).astype("float32"), 0)

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        self.x, self.y = dataset.train_x, dataset.train_y
        self.test_x, self.test_y = dataset.test_x, dataset.test_y
        self.learning_rate = np.float32(learning_rate)
        self.parameters, self.epoch = state.parameters.copy(), state.epoch

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        x, y, k, n = self.x, self.y, self.x.shape[1], len(UNITS)
        history = History.empty(epochs, len(self.parameters), self.epoch)
        for i in range(epochs):
            v, c, w, b = np.split(self.parameters, [k * n, k * n + n, k * n + 2 * n])
            v, w = v.reshape(k, n), w.reshape(n, 1)
            h = np.tanh(x @ v + c)
            error = h @ w + b - y
            history.train_loss[i] = np.mean(error**2)
            history.test_loss[i] = np.mean((np.tanh(self.test_x @ v + c) @ w + b - self.test_y) ** 2)

            d = error * np.float32(2 / len(x))
            e = d @ w.T * (1 - h**2)
            gradient = np.concatenate([(x.T @ e).ravel(), e.sum(0), (h.T @ d).ravel(), d.sum(0)])
            self.parameters = self.parameters - self.learning_rate * gradient

            history.parameters[i] = self.parameters
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
