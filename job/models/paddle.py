"""The same linear regression in PaddlePaddle: the framework's layer, loss, gradient and optimizer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache

import numpy as np
import paddle

from db.history import Float32s, History, State
from job.data.dataset import Dataset
from job.environment import TRAINING
from job.errors import in_a_line
from job.log import log_line
from job.models.base import LinearRegression, moments
from job.models.program import Program

program = lru_cache(maxsize=4)(Program)
"""programs, which take some hundredths of a second to build, for all models of the same shapes"""


class EagerModel(LinearRegression):
    """`nn.Linear` trained by `optimizer.SGD` on the whole training set at once, float32, weights [k, 1].

    This is the notebook's loop, operation by operation.
    """

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        paddle.set_device("cpu")
        self.linear = paddle.nn.Linear(len(dataset.features), 1)
        self.linear.weight.set_value(paddle.to_tensor(self.parameters[:-1].reshape(-1, 1)))
        self.linear.bias.set_value(paddle.to_tensor(self.parameters[-1:]))
        self.optimizer = paddle.optimizer.SGD(learning_rate, parameters=self.linear.parameters())
        self.train, self.test = (
            (paddle.to_tensor(x), paddle.to_tensor(y))
            for x, y in ((self.train_x, self.train_y), (self.test_x, self.test_y))
        )

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs of full-batch gradient descent."""
        started = time.time()
        mean_squared_error = paddle.nn.functional.mse_loss
        linear = self.linear
        weight, bias = linear.weight, linear.bias  # a layer looks its parameters up at each access
        (train_x, train_y), (test_x, test_y) = self.train, self.test
        history = History.empty(epochs, len(self.parameters), self.epoch)
        for i in range(epochs):
            loss = mean_squared_error(linear(train_x), train_y)
            with paddle.no_grad():
                test_loss = mean_squared_error(linear(test_x), test_y)
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad(set_to_zero=False)

            history.train_loss[i] = loss.numpy()
            history.test_loss[i] = test_loss.numpy()
            history.parameters[i, :-1] = weight.numpy()[:, 0]
            history.parameters[i, -1] = bias.numpy()[0]
        self.parameters = np.append(weight.numpy(), bias.numpy())
        self.epoch += epochs
        history.trained_at[:] = moments(started, epochs)
        return history

    def trace(self, given: Mapping[str, Float32s] | None = None) -> dict[str, Float32s]:
        """The values of the next epoch by Paddle's operations, on a copy of the layer.

        What `advance` leaves to a function of Paddle is taken apart here: `linear` into product and sum,
        `mse_loss` into the error and its mean square, `backward` into the gradients of these.
        """
        values: dict[str, Float32s] = {}
        inputs = values if given is None else given

        def tensor(name: str) -> paddle.Tensor:
            return paddle.to_tensor(inputs[name], stop_gradient=False)

        mean_squared_error = paddle.nn.functional.mse_loss
        linear = deepcopy(self.linear)
        weight, bias = linear.weight, linear.bias
        (train_x, train_y), (test_x, test_y) = self.train, self.test
        values["X w"] = paddle.matmul(train_x, weight).numpy()
        values["prediction"] = (tensor("X w") + bias).numpy()
        values["error"] = (tensor("prediction") - train_y).numpy()
        error = tensor("error")
        loss = mean_squared_error(error, paddle.zeros_like(error))
        values["train loss"] = loss.numpy()
        values["test prediction"] = linear(test_x).numpy()
        values["test loss"] = mean_squared_error(tensor("test prediction"), test_y).numpy()
        values["2/r error"] = paddle.grad(loss, error)[0].numpy()
        gradients = paddle.grad(linear(train_x), [weight, bias], tensor("2/r error"))
        values["gradient of the weights"], values["gradient of the bias"] = (g.numpy() for g in gradients)
        weight.grad, bias.grad = tensor("gradient of the weights"), tensor("gradient of the bias")
        paddle.optimizer.SGD(self.optimizer.get_lr(), parameters=[weight, bias]).step()
        values["parameters"] = np.append(weight.numpy(), bias.numpy())
        return values


class PaddleModel(EagerModel):
    """The same model, with the same bits, trained by one program for a block of epochs; so it is faster.

    If this version of Paddle cannot build the program, the eager loop trains.
    """

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.program: Program | None = None
        self.data = {name: getattr(self, name) for name in ("train_x", "train_y", "test_x", "test_y")}
        shapes = len(self.train_y), len(self.test_y), len(dataset.features)
        try:
            self.program = program(*shapes, learning_rate)
            TRAINING["paddle"] = "static program"
        except Exception as error:
            if not TRAINING.get("paddle", "").startswith("eager"):
                log_line(f"paddle trains epoch by epoch, since its program fails: {in_a_line(error)}")
            TRAINING["paddle"] = "eager loop"

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs of full-batch gradient descent."""
        if self.program is None or not epochs:
            return super().advance(epochs)
        started = time.time()
        history = History.empty(epochs, len(self.parameters), self.epoch)
        loss, test_loss, weight, bias = self.program.run(self.data, self.parameters, epochs)
        history.train_loss[:], history.test_loss[:] = loss, test_loss
        history.parameters[:, :-1], history.parameters[:, -1:] = weight[:, :, 0], bias
        self.parameters = history.parameters[-1].copy()
        self.linear.weight.set_value(weight[-1])
        self.linear.bias.set_value(bias[-1])
        self.epoch += epochs
        history.trained_at[:] = moments(started, epochs)
        return history
