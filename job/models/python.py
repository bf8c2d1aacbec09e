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
from job.models.base import LinearRegression, moments


def mean_squared_error(error: Float32s) -> np.float32:
    """L of the errors p - y, float32 [r, 1]."""
    # The same bits as np.mean, which takes three times as long.
    loss: np.float32 = (error * error).sum() / np.float32(len(error))
    return loss


class PythonModel(LinearRegression):
    """The hand-written model; all arithmetic is float32.

    Its loop computes in place, in arrays that are made once: for some hundred rows, making an array takes
    as long as filling it.
    """

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs of full-batch gradient descent."""
        started = time.time()
        history = History.empty(epochs, len(self.parameters), self.epoch)
        train_loss, test_loss = history.train_loss, history.test_loss
        train_x, train_y, test_x, test_y = self.train_x, self.train_y[:, 0], self.test_x, self.test_y[:, 0]
        error, test_error = np.empty_like(train_y), np.empty_like(test_y)
        parameters, gradient = self.parameters, np.empty_like(self.parameters)
        features, two_over_r = train_x.T, np.float32(2 / len(train_y))
        total = np.add.reduce
        for i, updated in enumerate(history.parameters):
            weights, bias = parameters[:-1], parameters[-1]
            np.dot(train_x, weights, out=error)
            error += bias
            error -= train_y
            np.dot(test_x, weights, out=test_error)
            test_error += bias
            test_error -= test_y
            train_loss[i] = total(error * error)
            test_loss[i] = total(test_error * test_error)

            error *= two_over_r
            np.dot(features, error, out=gradient[:-1])
            gradient[-1] = total(error)
            gradient *= self.learning_rate
            parameters = np.subtract(parameters, gradient, out=updated)
        train_loss /= len(train_y)
        test_loss /= len(test_y)
        self.parameters = parameters.copy()
        self.epoch += epochs
        history.trained_at[:] = moments(started, epochs)
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
