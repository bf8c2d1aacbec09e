"""A block of epochs as one static program of Paddle, which trains without Python between the operations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import paddle
from paddle.base.dygraph.base import switch_to_static_graph as in_static_mode

from db.history import Float32s

LONGEST = 200
"""epochs in one call of the program; writing to a tensor array of Paddle takes longer the longer it is"""


class Program:
    """Epochs of an `nn.Linear` of k features on r training rows, with the losses on s test rows.

    Raises an exception of Paddle's, of any type, if this version cannot build or run it.
    """

    # `paddle.enable_static` acts in the main thread alone; sweeps train in another.
    @in_static_mode  # type: ignore[untyped-decorator]
    def __init__(self, rows: int, test_rows: int, features: int, learning_rate: float) -> None:
        # The executor's threads cost more than these operations take: one runs each operation, and one frees
        # its results, and waits for them in a busy loop.
        paddle.set_flags({"FLAGS_new_executor_serial_run": True, "FLAGS_eager_delete_tensor_gb": -1.0})
        self.main, start = paddle.static.Program(), paddle.static.Program()
        self.scope = paddle.static.Scope()
        self.executor = paddle.static.Executor(paddle.CPUPlace())
        with paddle.static.scope_guard(self.scope):
            with paddle.static.program_guard(self.main, start), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Paddle warns of what its own functions call
                self._build(rows, test_rows, features, learning_rate)
            self.executor.run(start)
        shapes = {"train_x": (rows, features), "train_y": (rows, 1)}
        shapes |= {"test_x": (test_rows, features), "test_y": (test_rows, 1)}
        tried = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self.run(tried, np.zeros(features + 1, np.float32), 1)

    def _build(self, rows: int, test_rows: int, features: int, learning_rate: float) -> None:
        data = paddle.static.data
        train_x, train_y = data("train_x", [rows, features]), data("train_y", [rows, 1])
        test_x, test_y = data("test_x", [test_rows, features]), data("test_y", [test_rows, 1])
        epochs = data("epochs", [], "int64")
        mean_squared_error = paddle.nn.functional.mse_loss
        linear = paddle.nn.Linear(features, 1)
        optimizer = paddle.optimizer.SGD(learning_rate)
        self.parameters = [linear.weight, linear.bias]

        epoch = paddle.full([], 0, "int64")
        history = [paddle.tensor.create_array("float32") for _ in ("loss", "test loss", *self.parameters)]

        def train(i: paddle.Tensor) -> list[paddle.Tensor]:
            loss = mean_squared_error(linear(train_x), train_y)
            gradients = paddle.static.gradients(loss, self.parameters)
            with paddle.no_grad():
                test_loss = mean_squared_error(linear(test_x), test_y)
            optimizer.apply_gradients(list(zip(self.parameters, gradients, strict=True)))
            for value, values in zip((loss, test_loss, *self.parameters), history, strict=True):
                paddle.tensor.array_write(value, i, values)
            return [i + 1]

        paddle.static.nn.while_loop(lambda i: i < epochs, train, [epoch])
        stack = paddle.tensor.manipulation.tensor_array_to_tensor
        self.history = [stack(values, axis=0, use_stack=True)[0] for values in history]

    @in_static_mode  # type: ignore[untyped-decorator]
    def run(self, data: Mapping[str, Float32s], parameters: Float32s, epochs: int) -> list[Float32s]:
        """Train at least one epoch from `parameters` [k + 1], the bias last; `data` are the four arrays.

        Returns losses [epochs], test losses [epochs], and after each epoch weights [epochs, k, 1] and bias
        [epochs, 1].
        """
        starts = (parameters[:-1].reshape(-1, 1), parameters[-1:])
        for parameter, start in zip(self.parameters, starts, strict=True):
            self.scope.find_var(parameter.name).get_tensor().set(start, paddle.CPUPlace())
        calls: list[list[Float32s]] = []
        with paddle.static.scope_guard(self.scope):
            for done in range(0, epochs, LONGEST):
                count = min(LONGEST, epochs - done)
                feed = {**data, "epochs": np.array(count)}
                values = self.executor.run(self.main, feed=feed, fetch_list=self.history)
                # What is not freed stays: after a longer call, its last epochs follow those of this call.
                calls.append([value[:count] for value in values])
        return [np.concatenate(values) for values in zip(*calls, strict=True)]
