"""The notebook's regression in PyTorch: `nn.Linear`, `mse_loss`, `optim.SGD`."""

from __future__ import annotations

import time

import torch
from torch.nn.functional import mse_loss

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import LinearRegression


class TorchLinear(LinearRegression):
    """Full-batch gradient descent in float32; PyTorch's weights are [1, k]."""

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.linear = torch.nn.Linear(len(dataset.features), 1)
        with torch.no_grad():
            self.linear.weight[0] = torch.from_numpy(self.parameters[:-1])
            self.linear.bias[0] = float(self.parameters[-1])
        self.optimizer = torch.optim.SGD(self.linear.parameters(), lr=learning_rate)
        self.train, self.test = (
            (torch.tensor(x), torch.tensor(y))
            for x, y in ((self.train_x, self.train_y), (self.test_x, self.test_y))
        )

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs."""
        (train_x, train_y), (test_x, test_y) = self.train, self.test
        history = History.empty(epochs, len(self.parameters), self.epoch)
        for i in range(epochs):
            loss = mse_loss(self.linear(train_x), train_y)
            with torch.no_grad():
                history.test_loss[i] = mse_loss(self.linear(test_x), test_y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

            history.train_loss[i] = loss.detach()
            history.parameters[i, :-1] = self.linear.weight.detach()[0]
            history.parameters[i, -1] = self.linear.bias.detach()[0]
            history.trained_at[i] = time.time()
        self.epoch += epochs
        return history
