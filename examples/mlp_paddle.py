"""The network of mlp_numpy.py in PaddlePaddle, which finds the gradients by itself."""

from __future__ import annotations

import time

import numpy as np

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import Model
from job.models.paddle import paddle  # without its warning and its signal handler

UNITS = range(16)


class MLP(Model):
    """13-16-1 with tanh, trained by `optimizer.SGD` on the whole training set at once."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """Those of the hidden layer's weights row by row, its biases, the output's weights and bias."""
        v = (f"{feature} to unit {j}" for feature in dataset.features for j in UNITS)
        return (*v, *(f"bias of unit {j}" for j in UNITS), *(f"unit {j}" for j in UNITS), "bias")

    @classmethod
    def initial(cls, dataset: Dataset, seed: int) -> State:
        """Normal weights, divided by the root of the number of inputs; biases 0."""
        random, k, h = np.random.RandomState(seed), len(dataset.features), len(UNITS)
        parts = random.randn(k * h) / k**0.5, np.zeros(h), random.randn(h) / h**0.5, np.zeros(1)
        return State(np.concatenate(parts).astype("float32"), 0)

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        nn = paddle.nn
        self.network = nn.Sequential(
            nn.Linear(len(dataset.features), len(UNITS)), nn.Tanh(), nn.Linear(len(UNITS), 1)
        )
        self.layers = self.network.parameters()
        ends = np.cumsum([each.size for each in self.layers])[:-1]
        for each, values in zip(self.layers, np.split(state.parameters, ends), strict=True):
            each.set_value(values.reshape(each.shape))
        self.optimizer = paddle.optimizer.SGD(learning_rate, parameters=self.layers)
        self.train = paddle.to_tensor(dataset.train_x), paddle.to_tensor(dataset.train_y)
        self.test = paddle.to_tensor(dataset.test_x), paddle.to_tensor(dataset.test_y)
        self.epoch = state.epoch

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        (train_x, train_y), (test_x, test_y) = self.train, self.test
        history = History.empty(epochs, sum(each.size for each in self.layers), self.epoch)
        for i in range(epochs):
            loss = paddle.nn.functional.mse_loss(self.network(train_x), train_y)
            history.train_loss[i] = loss.numpy()
            history.test_loss[i] = paddle.nn.functional.mse_loss(self.network(test_x), test_y).numpy()
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad()

            history.parameters[i] = np.concatenate([each.numpy().ravel() for each in self.layers])
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
