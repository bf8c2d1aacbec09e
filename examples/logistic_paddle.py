"""The logistic regression of logistic_numpy.py in PaddlePaddle."""

from __future__ import annotations

import time

import numpy as np

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import LinearRegression
from job.models.paddle import paddle  # without its warning and its signal handler


class Logistic(LinearRegression):
    """`nn.Linear` trained by `optimizer.SGD` on the question whether a house is above the training median."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """Of the logit, the logarithm of the odds."""
        return tuple(f"logit {name}" for name in super().parameter_names(dataset))

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        w = paddle.to_tensor(self.parameters)
        self.linear = paddle.nn.Linear(len(dataset.features), 1)
        self.linear.set_state_dict({"weight": w[:-1].unsqueeze(1), "bias": w[-1:]})
        self.optimizer = paddle.optimizer.SGD(learning_rate, parameters=self.linear.parameters())
        median = np.median(dataset.train_y)
        self.train, self.test = (
            (paddle.to_tensor(x), paddle.to_tensor((y > median).astype("float32")))
            for x, y in ((dataset.train_x, dataset.train_y), (dataset.test_x, dataset.test_y))
        )

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        cross_entropy = paddle.nn.functional.binary_cross_entropy_with_logits
        (train_x, train_y), (test_x, test_y) = self.train, self.test
        history = History.empty(epochs, len(self.parameters), self.epoch)
        for i in range(epochs):
            loss = cross_entropy(self.linear(train_x), train_y)
            history.train_loss[i] = loss.numpy()
            history.test_loss[i] = cross_entropy(self.linear(test_x), test_y).numpy()
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad()

            history.parameters[i, :-1] = self.linear.weight.numpy()[:, 0]
            history.parameters[i, -1] = self.linear.bias.numpy()[0]
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
