"""Linear regression by mini-batches, in NumPy: many small updates in each epoch, in shuffled order.

The order of an epoch comes from the seed and the epoch's number alone. A generator that lives on from epoch
to epoch would be a state outside the parameters, and a resumed run would see the rows in another order.
"""

from __future__ import annotations

import time

import numpy as np

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import LinearRegression
from job.models.python import mean_squared_error

BATCH = 32


class MiniBatch(LinearRegression):
    """Stochastic gradient descent, 32 rows at a time; the losses are of all rows, before the epoch."""

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.seed = seed

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        history = History.empty(epochs, len(self.parameters), self.epoch)
        w, b = self.parameters[:-1, None], self.parameters[-1]
        for i in range(epochs):
            history.train_loss[i] = mean_squared_error(self.train_x @ w + b - self.train_y)
            history.test_loss[i] = mean_squared_error(self.test_x @ w + b - self.test_y)

            order = np.random.RandomState([self.seed, self.epoch]).permutation(len(self.train_x))
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                x, y = self.train_x[rows], self.train_y[rows]
                step = self.learning_rate * np.float32(2 / len(x)) * (x @ w + b - y)
                w = w - x.T @ step
                b = b - step.sum()

            history.parameters[i] = self.parameters = np.append(w, b)
            history.trained_at[i] = time.time()
            self.epoch += 1
        return history
