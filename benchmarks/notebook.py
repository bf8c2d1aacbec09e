"""The notebook's way: one loop over the epochs, both models in turn, VisualDL's LogWriter for every number.

A port of the notebook's training and logging to Paddle 3: each epoch writes both models' losses as scalars
and their weights as a histogram, with an unmodified LogWriter. `python -m benchmarks.notebook LOGDIR`.
"""

from __future__ import annotations

import sys
import warnings

from job.pins import pin

pin()  # the job's kernels and threads: only the recording is compared

import numpy as np  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paddle
    from visualdl import LogWriter

from job.data.dataset import DEFAULT_DATA, load  # noqa: E402


def main() -> None:
    """Train both models on the housing table, writing every epoch."""
    data, rate = load(DEFAULT_DATA), np.float32(0.01)
    weights = np.random.RandomState(0).randn(len(data.features), 1).astype("float32")
    bias = np.float32(0)

    linear = paddle.nn.Linear(len(data.features), 1)
    linear.weight.set_value(paddle.to_tensor(weights))
    linear.bias.set_value(paddle.to_tensor(np.zeros(1, "float32")))
    optimizer = paddle.optimizer.SGD(0.01, parameters=linear.parameters())
    train_x, train_y = paddle.to_tensor(data.train_x), paddle.to_tensor(data.train_y)
    test_x, test_y = paddle.to_tensor(data.test_x), paddle.to_tensor(data.test_y)

    with (
        LogWriter(f"{sys.argv[1]}/paddle") as framework,
        LogWriter(f"{sys.argv[1]}/python") as by_hand,
    ):
        for epoch in range(10_000):
            loss = paddle.nn.functional.mse_loss(linear(train_x), train_y)
            with paddle.no_grad():
                test_loss = paddle.nn.functional.mse_loss(linear(test_x), test_y)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            framework.add_scalar("loss/train", float(loss), epoch)
            framework.add_scalar("loss/test", float(test_loss), epoch)
            framework.add_histogram("weights", linear.weight.numpy(), epoch)

            error = data.train_x @ weights + bias - data.train_y
            test_error = data.test_x @ weights + bias - data.test_y
            by_hand.add_scalar("loss/train", float(np.mean(error**2)), epoch)
            by_hand.add_scalar("loss/test", float(np.mean(test_error**2)), epoch)
            weights = weights - rate * (2 / len(error) * (data.train_x.T @ error)).astype("float32")
            bias = bias - rate * np.float32(2 / len(error)) * error.sum()
            by_hand.add_histogram("weights", weights, epoch)


if __name__ == "__main__":
    main()
