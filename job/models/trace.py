"""The trace of a model: whether it has one, and whether its values are those of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.history import History
from job.models.base import Model

Trace = Mapping[str, NDArray[Any]]
REQUIRED = ("train loss", "test loss", "parameters")


def has_trace(model: type[Model]) -> bool:
    """Whether a model has a trace."""
    return model.trace is not Model.trace


def takes_given(model: type[Model]) -> bool:
    """Whether a model's trace takes the values of another model's trace."""
    return "given" in signature(model.trace).parameters


def problem_with_trace(values: object, parameters: int) -> str:
    """What is wrong with the trace of a model of so many parameters; empty if nothing is."""
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        return f"not a dictionary of names and arrays: {values!r:.80}"
    for name, value in values.items():
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            return f"{name!r} is not an array"
        if not np.issubdtype(array.dtype, np.floating):
            return f"{name!r} is {array.dtype}, not an array of floating point numbers"
        if not array.size:
            return f"{name!r} has no values"
    for name in REQUIRED:
        if name not in values:
            return f"has no {name!r}"
        size, expected = np.size(values[name]), parameters if name == "parameters" else 1
        if size != expected:
            return f"{name!r} has {size} values, not {expected}"
    return ""


def epoch_of(values: Trace, epoch: int) -> History:
    """The losses and parameters of a trace, as the one epoch that `advance` gives; `trained_at` is 0."""
    history = History.empty(1, np.size(values["parameters"]), epoch)
    history.train_loss[:] = np.ravel(values["train loss"])
    history.test_loss[:] = np.ravel(values["test loss"])
    history.parameters[:] = np.ravel(values["parameters"])
    history.trained_at[:] = 0
    return history
