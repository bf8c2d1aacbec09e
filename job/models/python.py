"""Linear regression by formula, in NumPy: what a framework does, step by step.

For r rows X [r, k] with targets y [r, 1], weights w [k, 1], bias b and learning rate a:

    prediction   p = X w + b
    loss         L = mean((p - y)^2)
    gradient     dL/dw = 2/r X^T (p - y)      dL/db = 2/r sum(p - y)
    update       w <- w - a dL/dw             b <- b - a dL/db

(Goodfellow, Bengio, Courville: Deep Learning, 2016, sections 5.1.4 and 4.3.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from db.history import Float32s, History
from job.models.base import LinearRegression


def mean_squared_error(error: Float32s) -> np.float32:
    """L of the errors p - y, float32 [r, 1]."""
    # The same bits as np.mean, which takes three times as long.
    loss: np.float32 = (error * error).sum() / np.float32(len(error))
    return loss


def gradient(x: Float32s, error: Float32s) -> tuple[Float32s, np.float32]:
    """dL/dw, float32 [k, 1], and dL/db, for features x [r, k] and errors p - y [r, 1]."""
    step = error * x.dtype.type(2 / len(x))
    return x.T @ step, step.sum()


class PythonModel(LinearRegression):
    """The hand-written model; all arithmetic is float32. Its weights are [k, 1], as in the formulas."""

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs of full-batch gradient descent."""
        history = History.empty(epochs, len(self.parameters), self.epoch)
        weights, bias = self.parameters[:-1].reshape(-1, 1), self.parameters[-1]
        for i in range(epochs):
            error = self.train_x @ weights + bias - self.train_y
            test_error = self.test_x @ weights + bias - self.test_y
            history.train_loss[i] = mean_squared_error(error)
            history.test_loss[i] = mean_squared_error(test_error)

            weights_gradient, bias_gradient = gradient(self.train_x, error)
            weights = weights - self.learning_rate * weights_gradient
            bias = bias - self.learning_rate * bias_gradient

            history.parameters[i, :-1] = weights[:, 0]
            history.parameters[i, -1] = bias
            history.trained_at[i] = time.time()
        self.parameters = np.append(weights, bias)
        self.epoch += epochs
        return history

    def trace(self, given: Mapping[str, Float32s] | None = None) -> dict[str, Float32s]:
        """The values of the next epoch, each computed from those before it, or from `given`."""
        values: dict[str, Float32s] = {}
        inputs = values if given is None else given
        weights, bias = self.parameters[:-1].reshape(-1, 1), self.parameters[-1]
        values["X w"] = self.train_x @ weights
        values["prediction"] = inputs["X w"] + bias
        values["error"] = inputs["prediction"] - self.train_y
        values["train loss"] = np.array(mean_squared_error(inputs["error"]))
        values["test prediction"] = self.test_x @ weights + bias
        values["test loss"] = np.array(mean_squared_error(inputs["test prediction"] - self.test_y))
        values["2/r error"] = inputs["error"] * np.float32(2 / len(self.train_x))
        values["gradient of the weights"] = self.train_x.T @ inputs["2/r error"]
        values["gradient of the bias"] = np.array(inputs["2/r error"].sum())
        packed = np.append(inputs["gradient of the weights"], inputs["gradient of the bias"])
        values["parameters"] = self.parameters - self.learning_rate * packed
        return values
