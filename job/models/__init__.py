"""The models: one file each, one interface. A new one is a new file and a line in `REGISTRY`."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np

from db.history import History, State
from job.dataset import Dataset

REGISTRY = {"paddle": "PaddleModel", "python": "PythonModel"}
"""model name (and module) to class, in the order in which they are trained and shown"""


class Model(Protocol):
    """A linear regression that can be trained epoch by epoch from any state."""

    epoch: int
    """the next epoch to train"""

    def __init__(self, dataset: Dataset, learning_rate: float, state: State) -> None: ...

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs. How they are cut into calls never changes a bit."""


def initial_state(features: int, seed: int) -> State:
    """The start that all models share: normal weights by the seed, bias 0, no epoch seen."""
    weights = np.random.RandomState(seed).randn(features, 1).astype("float32")
    return State(weights[:, 0], np.float32(0), 0)


def make_model(name: str, dataset: Dataset, learning_rate: float, state: State) -> Model:
    """The model of that name, at `state`. Raises KeyError for a name not in the registry."""
    model: type[Model] = getattr(import_module(f"job.models.{name}"), REGISTRY[name])
    return model(dataset, learning_rate, state)
