"""The bare loops: the same two models in loops that store nothing, written to be as fast as possible.

`python -m benchmarks.bare` computes in each epoch what a history would hold, its two losses and its
parameters as Python numbers, and discards them. Nothing cheaper gives the same bits: each epoch depends on
the last, so epochs cannot be batched; computing the test loss of many epochs in one matrix product rounds
differently; and `numpy()` is the only way from a Paddle tensor to a number. With `--unread` it only trains:
no value is read before the end, and none is computed just to be read. NumPy's loop writes into preallocated
arrays, which the readable model does not; Paddle's loop has no call to spare. Both share the job's savings at
process exit. A test requires the bits of the job's models from both.
"""

from __future__ import annotations

import sys

from job.__main__ import leave
from job.pins import pin

pin()  # the job's kernels and threads

import numpy as np  # noqa: E402

from db.history import State  # noqa: E402
from job.data.dataset import DEFAULT_DATA, Dataset, load  # noqa: E402
from job.models.base import LinearRegression  # noqa: E402
from job.models.loading import load_models  # noqa: E402


def train_python(data: Dataset, epochs: int, rate: float, start: State, read: bool = True) -> State:
    """The hand-written model's arithmetic, in place."""
    x, y, test_x, test_y = data.train_x, data.train_y, data.test_x, data.test_y
    transposed, scale, step = x.T, np.float32(2 / len(x)), np.float32(rate)
    rows, test_rows = np.float32(len(x)), np.float32(len(test_x))
    weights, bias = start.parameters[:-1].reshape(-1, 1).copy(), start.parameters[-1]
    error, test_error = np.empty_like(y), np.empty_like(test_y)
    square, test_square = np.empty_like(y), np.empty_like(test_y)
    slope = np.empty_like(weights)
    total = np.add.reduce
    for _ in range(epochs):
        np.matmul(x, weights, out=error)
        error += bias
        error -= y
        if read:
            np.matmul(test_x, weights, out=test_error)
            test_error += bias
            test_error -= test_y
            np.multiply(error, error, out=square)
            np.multiply(test_error, test_error, out=test_square)
            float(total(square, axis=None) / rows)
            float(total(test_square, axis=None) / test_rows)
        error *= scale
        np.matmul(transposed, error, out=slope)
        slope *= step
        weights -= slope
        bias = bias - step * total(error, axis=None)
    return State(np.append(weights, bias), start.epoch + epochs)


def train_paddle(data: Dataset, epochs: int, rate: float, start: State, read: bool = True) -> State:
    """Paddle's layer, loss and optimizer."""
    import paddle

    paddle.set_device("cpu")
    loss_of, no_grad = paddle.nn.functional.mse_loss, paddle.no_grad
    linear = paddle.nn.Linear(len(data.features), 1)
    linear.weight.set_value(paddle.to_tensor(start.parameters[:-1].reshape(-1, 1)))
    linear.bias.set_value(paddle.to_tensor(start.parameters[-1:]))
    optimizer = paddle.optimizer.SGD(rate, parameters=linear.parameters())
    x, y, test_x, test_y = map(paddle.to_tensor, (data.train_x, data.train_y, data.test_x, data.test_y))
    weight, bias = linear.weight, linear.bias
    for _ in range(epochs):
        loss = loss_of(linear(x), y)
        if read:
            with no_grad():
                test_loss = loss_of(linear(test_x), test_y)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        if read:
            loss.numpy()
            test_loss.numpy()
            weight.numpy()
            bias.numpy()
    return State(np.append(weight.numpy(), bias.numpy()), start.epoch + epochs)


LOOPS = {"paddle": train_paddle, "python": train_python}


def train(data: Dataset, epochs: int, read: bool = True) -> dict[str, State]:
    """Train both models and keep only their final states."""
    load_models()  # also sets up Paddle's warnings and signals
    start = LinearRegression.initial(data, 0)
    return {name: loop(data, epochs, 0.01, start, read) for name, loop in LOOPS.items()}


def main() -> None:
    """Train on the housing table and print the biases."""
    for name, state in train(load(DEFAULT_DATA), 10_000, "--unread" not in sys.argv).items():
        print(f"{name} {state.parameters[-1]:.9g}")
    sys.stdout.flush()
    leave(0)


if __name__ == "__main__":
    main()
