"""What a model is: the interface of every implementation, and the start of the linear regressions."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.history import Float64s, History, State
from job.data.dataset import Dataset

LONGEST_NAME = 4000
"""characters of a parameter's name"""


class Model(ABC):
    """One implementation of something that is trained epoch by epoch from any state.

    Its parameters are its whole state: what decides the next epoch is in the vector, such as weights, biases
    and an optimizer's slots.
    """

    epoch: int
    """the next epoch to train"""

    @classmethod
    @abstractmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """The p names of the parameters, each another; all models of a run have the same."""

    @classmethod
    @abstractmethod
    def initial(cls, dataset: Dataset, seed: int) -> State:
        """The state before epoch 0. The first model of a run gives it for all."""

    @abstractmethod
    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        """A model that goes on from `state`, which it leaves as it is."""

    @abstractmethod
    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs. The bits do not depend on how epochs are split into calls."""

    def trace(self, given: Mapping[str, NDArray[Any]] | None = None) -> dict[str, NDArray[Any]]:
        """The named values that the next epoch computes, in order, without training it. Optional.

        `train loss`, `test loss` and `parameters` [p] must be among them, with the bits that `advance` gives.
        What has a name that begins with `gradient` is shown beside the parameters, if that is p values
        in all.

        With `given`, the trace of another model in the shapes of this one's, each operation takes its inputs
        from there instead of from what it has computed itself. A trace without this parameter is allowed.

        Raises NotImplementedError if the model has no trace (see `has_trace` in `job/models/trace.py`).
        """
        raise NotImplementedError


def problem_with_names(names: object) -> str:
    """What is wrong with the names of a model's parameters; empty if nothing is."""
    if not isinstance(names, tuple) or not names:
        return f"not a tuple of strings: {names!r:.80}"
    for name in names:
        if (
            not isinstance(name, str)
            or not name.strip()
            or not name.isprintable()
            or len(name) > LONGEST_NAME
        ):
            return f"not a printable string of 1 to {LONGEST_NAME} characters: {name!r:.80}"
    twice = [name for name, count in Counter(names).items() if count > 1]
    return f"{twice[0]!r} is there twice" if twice else ""


def moments(started: float, epochs: int) -> Float64s:
    """`trained_at` of one call's epochs: Unix seconds, float64 [epochs], evenly from `started` until now."""
    return np.linspace(started, time.time(), epochs + 1)[1:]


class LinearRegression(Model):
    """The notebook's regression: a weight for each feature, then the bias. An implementation is `advance`."""

    @classmethod
    def parameter_names(cls, dataset: Dataset) -> tuple[str, ...]:
        """The features, then `bias`."""
        return (*dataset.features, "bias")

    @classmethod
    def initial(cls, dataset: Dataset, seed: int) -> State:
        """Normally distributed weights from the seed, bias 0."""
        weights = np.random.RandomState(seed).randn(len(dataset.features), 1).astype("float32")
        return State(np.append(weights, np.float32(0)), 0)

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        self.train_x, self.train_y = dataset.train_x, dataset.train_y
        self.test_x, self.test_y = dataset.test_x, dataset.test_y
        self.learning_rate = np.float32(learning_rate)
        self.parameters = state.parameters.copy()
        """float32 [p], after the last trained epoch"""
        self.epoch = state.epoch
