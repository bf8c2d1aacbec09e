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

import numpy as np

from db.history import Float32s, History, State
from job.data.dataset import Dataset


def mean_squared_error(error: Float32s) -> np.float32:
    """L of the errors p - y, float32 [r, 1]."""
    # The same bits as np.mean, which takes three times as long.
    loss: np.float32 = (error * error).sum() / np.float32(len(error))
    return loss


def gradient(x: Float32s, error: Float32s) -> tuple[Float32s, np.float32]:
    """dL/dw, float32 [k, 1], and dL/db, for features x [r, k] and errors p - y [r, 1]."""
    step = error * x.dtype.type(2 / len(x))
    return x.T @ step, step.sum()


class PythonModel:
    """The hand-written model; all arithmetic is float32. Its weights are [k, 1], as in the formulas."""

    def __init__(self, dataset: Dataset, learning_rate: float, state: State) -> None:
        # The bits of a product depend on the layout: NumPy does not pass unaligned arrays to BLAS, and BLAS
        # sums column-major arrays in another order. Arrays from another process may be unaligned.
        self.train_x, self.train_y, self.test_x, self.test_y = (
            np.require(values, np.float32, ["C", "ALIGNED"])
            for values in (dataset.train_x, dataset.train_y, dataset.test_x, dataset.test_y)
        )
        self.learning_rate = np.float32(learning_rate)
        self.weights = state.weights.reshape(-1, 1).copy()
        self.bias = state.bias
        self.epoch = state.epoch

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs of full-batch gradient descent."""
        history = History.empty(epochs, len(self.weights), self.epoch)
        for i in range(epochs):
            error = self.train_x @ self.weights + self.bias - self.train_y
            test_error = self.test_x @ self.weights + self.bias - self.test_y
            history.train_loss[i] = mean_squared_error(error)
            history.test_loss[i] = mean_squared_error(test_error)

            weights_gradient, bias_gradient = gradient(self.train_x, error)
            self.weights = self.weights - self.learning_rate * weights_gradient
            self.bias = self.bias - self.learning_rate * bias_gradient

            history.weights[i] = self.weights[:, 0]
            history.bias[i] = self.bias
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
