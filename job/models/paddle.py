"""The same linear regression in PaddlePaddle: the framework's layer, loss, gradient and optimiser."""

from __future__ import annotations

import time
import warnings

from db.history import History, State
from job.data.dataset import Dataset

with warnings.catch_warnings():
    # Paddle warns at import that no compiler cache is installed; only authors of extensions need one.
    warnings.filterwarnings("ignore", message="No ccache found")
    import paddle

paddle.disable_signal_handler()  # else SIGTERM prints Paddle's own dump and a page of advice


class PaddleModel:
    """`nn.Linear` trained by `optimizer.SGD` on the whole training set at once, float32, weights [k, 1]."""

    def __init__(self, dataset: Dataset, learning_rate: float, state: State) -> None:
        paddle.set_device("cpu")
        self.epoch = state.epoch
        self.linear = paddle.nn.Linear(len(state.weights), 1)
        self.linear.weight.set_value(paddle.to_tensor(state.weights.reshape(-1, 1)))
        self.linear.bias.set_value(paddle.to_tensor(state.bias.reshape(1)))
        self.optimizer = paddle.optimizer.SGD(learning_rate, parameters=self.linear.parameters())
        self.train_x, self.train_y = paddle.to_tensor(dataset.train_x), paddle.to_tensor(dataset.train_y)
        self.test_x, self.test_y = paddle.to_tensor(dataset.test_x), paddle.to_tensor(dataset.test_y)

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs of full-batch gradient descent."""
        mean_squared_error = paddle.nn.functional.mse_loss
        linear = self.linear
        weight, bias = linear.weight, linear.bias  # a layer looks its parameters up at each access
        history = History.empty(epochs, weight.shape[0], self.epoch)
        for i in range(epochs):
            loss = mean_squared_error(linear(self.train_x), self.train_y)
            with paddle.no_grad():
                test_loss = mean_squared_error(linear(self.test_x), self.test_y)
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad(set_to_zero=False)

            history.train_loss[i] = loss.numpy()
            history.test_loss[i] = test_loss.numpy()
            history.weights[i] = weight.numpy()[:, 0]
            history.bias[i] = bias.numpy()[0]
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
