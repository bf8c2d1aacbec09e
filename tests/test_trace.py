"""A trace has the values of the epoch that `advance` trains; the contract finds one that has not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from job.data.dataset import Dataset, load
from job.models.base import LinearRegression, Model
from job.models.contract import check
from job.models.python import PythonModel
from job.models.reference import BUILT_IN
from job.models.trace import Trace
from tests.contract import TRACE, OneByOne, broken
from tests.samples import model

OPERATIONS = [
    *("X w", "prediction", "error", "train loss", "test prediction", "test loss"),
    *("2/r error", "gradient of the weights", "gradient of the bias", "parameters"),
]


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_value_is_that_of_the_formula(name: str) -> None:
    data = load()
    start = LinearRegression.initial(data, 3)
    start.parameters[-1] = 0.25
    trace = model(name, data, 0.01, start).trace()
    x, y, w, b = data.train_x.astype(float), data.train_y, start.parameters[:-1, None].astype(float), 0.25
    error = x @ w + b - y
    gradient = np.append(2 / 404 * x.T @ error, 2 / 404 * error.sum())
    expected = {
        "X w": x @ w,
        "prediction": x @ w + b,
        "error": error,
        "train loss": np.mean(error**2),
        "test prediction": data.test_x @ w + b,
        "test loss": np.mean((data.test_x @ w + b - data.test_y) ** 2),
        "2/r error": 2 / 404 * error,
        "gradient of the weights": gradient[:-1, None],
        "gradient of the bias": gradient[-1],
        "parameters": start.parameters - 0.01 * gradient,
    }
    assert list(trace) == list(expected) == OPERATIONS
    for operation, value in expected.items():
        assert trace[operation].dtype == np.float32
        assert np.allclose(trace[operation], value, rtol=1e-5, atol=1e-6), operation


@pytest.mark.parametrize("name", BUILT_IN)
def test_given_the_values_of_another_each_operation_takes_its_inputs_from_them(
    name: str, small: Dataset
) -> None:
    made = model(name, small)
    own = made.trace()
    users = dict.fromkeys(own, ()) | {
        "X w": ("prediction",),
        "prediction": ("error",),
        "error": ("train loss", "2/r error"),
        "test prediction": ("test loss",),
        "2/r error": ("gradient of the weights", "gradient of the bias"),
        "gradient of the weights": ("parameters",),
        "gradient of the bias": ("parameters",),
    }
    for operation, value in own.items():
        changed = made.trace(own | {operation: value + np.float32(0.5)})
        differing = [each for each in own if changed[each].tobytes() != own[each].tobytes()]
        assert tuple(differing) == users[operation]


class Traced(OneByOne):
    """The sound model of the contract's tests, with a trace."""

    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        return PythonModel.trace(self, given)  # type: ignore[arg-type]


class ChangesItself(Traced):
    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        values = super().trace(given)
        self.parameters = values["parameters"]
        return values


class ChangesTheState(Traced):
    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        self.given_state.parameters[0] += 1
        return super().trace(given)

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: Any) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.given_state = state


class LossAfterwards(Traced):
    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        values = super().trace(given)
        return values | {"train loss": values["train loss"] * np.float32(0.9)}


class OnlyAtTheStart(Traced):
    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        values = super().trace(given)
        return values | {"parameters": values["parameters"] + np.float32(self.epoch > 1)}


class WithoutParameters(Traced):
    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        values = super().trace(given)
        del values["parameters"]
        return values


class Takes(Traced):
    """Takes for given what it was not given."""

    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        values = super().trace(given)
        return values if given is None else values | {"error": values["error"] + 1}


class Raises(Traced):
    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        raise ValueError("no values today")


class Whole(Traced):
    def trace(self, given: Trace | None = None) -> dict[str, Any]:
        return super().trace(given) | {"rows": np.array(3)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (ChangesItself, "after a trace, epoch 0: train loss is "),
        (ChangesTheState, "trace changes state.parameters"),
        (LossAfterwards, "epoch 0: train loss is "),
        (OnlyAtTheStart, "epoch 21: x0 is "),
        (WithoutParameters, "has no 'parameters'"),
        (Takes, "epoch 0: given its own values, it has another 'error'"),
        (Raises, "ValueError: no values today (test_trace.py, line "),
        (Whole, "'rows' is int64, not an array of floating point numbers"),
    ],
)
def test_a_trace_that_is_not_the_epoch_breaks_the_contract(
    wrong: type[Model], said: str, small: Dataset
) -> None:
    (clause,) = broken(wrong, small)
    assert clause.name == TRACE
    assert clause.detail.startswith(said)


class WithoutGiven(OneByOne):
    """A trace as one without a second implementation would write it."""

    def trace(self) -> dict[str, Any]:  # type: ignore[override]
        values: Mapping[str, Any] = PythonModel.trace(self)  # type: ignore[arg-type]
        return {name: values[name] for name in ("train loss", "test loss", "parameters")}


@pytest.mark.parametrize(("made", "tried"), [(Traced, True), (WithoutGiven, True), (OneByOne, False)])
def test_a_sound_trace_keeps_it_and_none_is_not_tried(made: type[Model], tried: bool, small: Dataset) -> None:
    clauses = list(check(made, small, 40, 0.1))
    assert [clause for clause in clauses if not clause.passed] == []
    assert (TRACE in [clause.name for clause in clauses]) == tried
