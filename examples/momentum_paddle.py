"""Linear regression with momentum, in PaddlePaddle: `optimizer.Momentum`, whose velocities are stored too."""

from __future__ import annotations

import time

import numpy as np

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import LinearRegression
from job.models.paddle import paddle  # without its warning and its signal handler


class Momentum(LinearRegression):
    """The vector is the weights, the bias, and the velocity of each of them."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """The regression's, then a velocity for each."""
        names = super().parameter_names(dataset)
        return (*names, *(f"velocity {name}" for name in names))

    @classmethod
    def initial(cls, dataset: Dataset, seed: int) -> State:
        """The regression's start, with velocity 0."""
        start = super().initial(dataset, seed).parameters
        return State(np.append(start, np.zeros_like(start)), 0)

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        w, v = (paddle.to_tensor(half) for half in np.split(self.parameters, 2))
        self.linear = paddle.nn.Linear(len(dataset.features), 1)
        self.linear.set_state_dict({"weight": w[:-1].unsqueeze(1), "bias": w[-1:]})
        self.optimizer = paddle.optimizer.Momentum(learning_rate, 0.9, parameters=self.linear.parameters())
        self.slots = [f"{each.name}_velocity_0" for each in self.linear.parameters()]
        velocities = (v[:-1].unsqueeze(1), v[-1:])
        self.optimizer.set_state_dict(dict(zip(self.slots, velocities, strict=True)))
        self.train = paddle.to_tensor(self.train_x), paddle.to_tensor(self.train_y)
        self.test = paddle.to_tensor(self.test_x), paddle.to_tensor(self.test_y)

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        (train_x, train_y), (test_x, test_y) = self.train, self.test
        history = History.empty(epochs, len(self.parameters), self.epoch)
        for i in range(epochs):
            loss = paddle.nn.functional.mse_loss(self.linear(train_x), train_y)
            history.train_loss[i] = loss.numpy()
            history.test_loss[i] = paddle.nn.functional.mse_loss(self.linear(test_x), test_y).numpy()
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad()

            slots = self.optimizer.state_dict()
            values = [*self.linear.parameters(), *(slots[name] for name in self.slots)]
            history.parameters[i] = np.concatenate([value.numpy().ravel() for value in values])
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
