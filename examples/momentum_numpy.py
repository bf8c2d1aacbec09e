"""Linear regression with momentum, in NumPy.

With the gradient g of the loss at the parameters w, learning rate a and momentum m = 0.9:

    v <- m v + g
    w <- w - a v

(Polyak: Some methods of speeding up the convergence of iteration methods, 1964.) The velocity v decides the
next epoch too, so it is part of the model's state.
"""

from __future__ import annotations

import time

import numpy as np

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import LinearRegression

MOMENTUM = np.float32(0.9)


class Momentum(LinearRegression):
    """The vector is the weights, the bias, and the velocity of each of them."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """The regression's, then a velocity for each."""
        names = super().parameter_names(dataset)
        return (*names, *(f"velocity {name}" for name in names))

    @classmethod
    def initial(cls, dataset: Dataset, seed: int) -> State:
        """The regression's start, with velocity 0."""
        start = super().initial(dataset, seed).parameters
        return State(np.append(start, np.zeros_like(start)), 0)

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        history = History.empty(epochs, len(self.parameters), self.epoch)
        w, v = np.split(self.parameters, 2)
        for i in range(epochs):
            error = self.train_x @ w[:-1, None] + w[-1] - self.train_y
            test_error = self.test_x @ w[:-1, None] + w[-1] - self.test_y
            history.train_loss[i] = np.mean(error * error)
            history.test_loss[i] = np.mean(test_error * test_error)

            step = error * np.float32(2 / len(error))
            g = np.append(self.train_x.T @ step, step.sum())
            v = MOMENTUM * v + g
            w = w - self.learning_rate * v

            history.parameters[i] = np.append(w, v)
            history.trained_at[i] = time.time()
        self.parameters = np.append(w, v)
        self.epoch += epochs
        return history

    def trace(self, given=None):
        """The next epoch's values, each computed from those before it, or from `given`."""
        values = {}
        inputs = values if given is None else given
        w, v = np.split(self.parameters, 2)
        values["error"] = self.train_x @ w[:-1, None] + w[-1] - self.train_y
        values["test error"] = self.test_x @ w[:-1, None] + w[-1] - self.test_y
        values["train loss"] = np.mean(inputs["error"] ** 2)
        values["test loss"] = np.mean(inputs["test error"] ** 2)
        step = inputs["error"] * np.float32(2 / len(self.train_y))
        values["gradient"] = np.append(self.train_x.T @ step, step.sum())
        values["velocity"] = MOMENTUM * v + inputs["gradient"]
        values["parameters"] = np.append(w - self.learning_rate * inputs["velocity"], inputs["velocity"])
        return values
