"""The contract of models: each built-in model and example keeps it, and for each clause a model breaks it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from db.history import History, State
from docs.model_gaps import CLASSES, find
from job.data.dataset import Dataset, load
from job.models.base import Model
from job.models.contract import check, train
from job.models.python import PythonModel
from job.models.reference import BUILT_IN
from job.models.trace import has_trace
from tests.conftest import ROOT
from tests.contract import (
    ALL,
    CALLS,
    COUNT,
    EPOCHS,
    FINITE,
    INSTANCES,
    LOSSES,
    PROCESS,
    ROWS,
    TRACE,
    OneByOne,
    broken,
    only,
)


@pytest.mark.parametrize("name", [*BUILT_IN, *CLASSES])
def test_a_model_keeps_the_contract(name: str) -> None:
    clauses = list(check(find(name), load(), EPOCHS))
    assert [clause.name for clause in clauses] == [*ALL, *([TRACE] if has_trace(find(name)) else [])]
    assert [clause for clause in clauses if not clause.passed] == []


IN_ANOTHER_PROCESS = """
from job.pins import pin; pin()
import sys
import numpy as np
from job.data.dataset import load
from job.models.contract import train
from docs.model_gaps import find
history = train(find(sys.argv[1]), load(), int(sys.argv[2]), 0.01, 0)
np.savez(sys.argv[3], **{name: getattr(history, name) for name in history.__slots__})
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("name", [*BUILT_IN, *CLASSES])
def test_another_process_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    def again() -> History:
        words = [sys.executable, "-c", IN_ANOTHER_PROCESS, name, str(EPOCHS), str(tmp_path / "history.npz")]
        subprocess.run(words, check=True, timeout=120, cwd=ROOT)
        with np.load(tmp_path / "history.npz") as values:
            return History(**values)

    *_, last = check(find(name), load(), EPOCHS, again=again)
    assert (last.name, last.detail) == (PROCESS, "")


def test_the_sound_model_of_these_tests_breaks_nothing(small: Dataset) -> None:
    assert broken(OneByOne, small) == []


class Momentum(OneByOne):
    velocity: np.float32 | np.ndarray = np.float32(0)

    def one(self) -> History:
        before = self.parameters
        history = super().one()
        self.velocity = np.float32(0.9) * self.velocity + history.parameters[0] - before
        self.parameters = before + self.velocity
        history.parameters[0] = self.parameters
        return history


class LateMomentum(Momentum):
    def one(self) -> History:
        return super().one() if self.epoch >= 15 else OneByOne.one(self)


class HiddenFirst(OneByOne):
    """The first epoch after a start is another, which only row 0 and calls do not show."""

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.decay = np.float32(1 - 1e-3 * (state.epoch == 0))

    def one(self) -> History:
        history = super().one()
        self.parameters = history.parameters[0] = history.parameters[0] * self.decay
        return history


class Float64(OneByOne):
    """Rounds for the history only, and goes on with float64."""

    exact: np.ndarray | None = None

    def one(self) -> History:
        before = self.parameters.astype(np.float64) if self.exact is None else self.exact
        self.parameters = before.astype(np.float32)
        history = super().one()
        self.exact = before * (1 - 1e-3) + 1e-3 * history.parameters[0]
        history.parameters[0] = self.exact
        return history


@pytest.mark.parametrize(
    ("model", "detail"),
    [
        (Momentum, "from the row of epoch 0: epoch 1: x0 is "),
        (LateMomentum, "from the row of epoch 20: epoch 21: x0 is "),
        (HiddenFirst, "from the row of epoch 0: epoch 1: x0 is "),
        (Float64, "from the row of epoch 0: epoch 1: x"),
    ],
)
def test_state_outside_the_vector_is_found(model: type[Model], detail: str, small: Dataset) -> None:
    name, said = only(model, small)
    assert name == ROWS
    assert said.startswith(detail)


class CountsCalls(OneByOne):
    def advance(self, epochs: int) -> History:
        self.parameters = self.parameters + np.float32(1e-3)
        return super().advance(epochs)


class LosesUpdates(OneByOne):
    """Drops its last update after a call of several epochs."""

    def advance(self, epochs: int) -> History:
        history = super().advance(epochs)
        if epochs > 1:
            self.parameters = history.parameters[-2]
        return history


def test_calls_that_change_bits_are_found(small: Dataset) -> None:
    said = {clause.name: clause.detail for clause in broken(LosesUpdates, small)}
    assert said[CALLS].startswith("in calls of 20 and the rest: epoch 20: train loss is ")
    said = {clause.name: clause.detail for clause in broken(CountsCalls, small)}
    assert said[CALLS].startswith(
        "in calls of 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 and the rest: epoch 1: train loss is"
    )


class LossAfter(OneByOne):
    """Reports the loss after the update, of the train or the test rows."""

    which = "train_loss"

    def one(self) -> History:
        history = super().one()
        after = PythonModel(self.dataset, 0.1, 0, State(self.parameters, self.epoch)).advance(1)
        getattr(history, self.which)[:] = getattr(after, self.which)
        return history


class TestLossAfter(LossAfter):
    __test__ = False
    which = "test_loss"


@pytest.mark.parametrize(("model", "loss"), [(LossAfter, "train loss"), (TestLossAfter, "test loss")])
def test_a_loss_after_the_update_is_found(model: type[Model], loss: str, small: Dataset) -> None:
    name, said = only(model, small)
    assert name == LOSSES
    assert said.startswith(f"with learning rate 0.2 instead of 0.1, epoch 0: {loss} is ")


class GlobalGenerator(OneByOne):
    """Mini-batches whose order comes from a generator that all share."""

    def one(self) -> History:
        rows = np.random.permutation(len(self.train_x))[:20]
        self.parameters = self.parameters + self.train_x[rows].mean().astype(np.float32)
        return super().one()


def test_a_global_generator_is_found(small: Dataset) -> None:
    names = [clause.name for clause in broken(GlobalGenerator, small)]
    assert {CALLS, ROWS, INSTANCES} <= set(names)


class SharedBetweenInstances(OneByOne):
    """All is right as long as no other instance is trained in between."""

    shared: ClassVar[dict[int, np.ndarray]] = {}

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.shared[0] = self.parameters

    def one(self) -> History:
        self.parameters = self.shared[0]
        history = super().one()
        self.shared[0] = self.parameters
        return history


def test_what_instances_share_is_found(small: Dataset) -> None:
    name, said = only(SharedBetweenInstances, small)
    assert name == INSTANCES
    assert said.startswith("epoch 5: train loss is ")


def test_another_history_from_another_process_is_found(small: Dataset) -> None:
    other = train(OneByOne, small, EPOCHS, 0.1, 0)
    other.test_loss[7] += 1
    (clause,) = broken(OneByOne, small, again=lambda: other)
    assert clause.name == PROCESS
    assert clause.detail.startswith("epoch 7: test loss is ")
    (clause,) = broken(OneByOne, small, again=lambda: other[:7])
    assert (clause.name, clause.detail) == (PROCESS, "gives 7 epochs, 0 to 6, not 40 epochs, 0 to 39")


class OtherZero(OneByOne):
    """Goes on with 0.0 after -0.0."""

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.zero = np.float32(0.0 if state.epoch else -0.0)

    def one(self) -> History:
        history = super().one()
        history.test_loss[:] = self.zero
        return history


def test_another_sign_of_zero_is_found(small: Dataset) -> None:
    said = {clause.name: clause.detail for clause in broken(OtherZero, small)}
    assert said[ROWS] == "from the row of epoch 0: epoch 1: test loss is 0.0, not -0.0"


class NumbersFromZero(OneByOne):
    """Numbers its epochs by itself, in each instance."""

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, State(state.parameters, 0))


def test_a_resumed_model_that_counts_from_0_again_is_found(small: Dataset) -> None:
    said = {clause.name: clause.detail for clause in broken(NumbersFromZero, small)}
    assert said[ROWS] == "from the row of epoch 0: gives 39 epochs, 0 to 38, not 39 epochs, 1 to 39"


def test_few_epochs_are_enough(small: Dataset) -> None:
    assert [clause.passed for clause in check(OneByOne, small, 1)] == [True] * len(ALL)


class Raises(OneByOne):
    error: BaseException = ZeroDivisionError("a block\nof two lines")

    def one(self) -> History:
        if self.epoch == 7:
            raise self.error
        return super().one()


class Exits(Raises):
    error = SystemExit(3)


@pytest.mark.parametrize(
    ("model", "said"), [(Raises, "ZeroDivisionError: a block of two lines"), (Exits, "SystemExit: 3")]
)
def test_an_exception_is_found_with_its_epoch(model: type[Model], said: str, small: Dataset) -> None:
    clause, detail = only(model, small)
    assert clause == COUNT
    assert re.fullmatch(rf"epoch 7: {said} \(test_model_contract.py, line \d+\)", detail)


class RaisesWhenResumed(OneByOne):
    error: BaseException = ValueError("only from the start")

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        if state.epoch:
            raise self.error


class ExitsWhenResumed(RaisesWhenResumed):
    error = SystemExit(0)


def test_an_exception_after_the_start_breaks_the_clause_that_is_tried(small: Dataset) -> None:
    for model, said in (
        (RaisesWhenResumed, "ValueError: only from the start"),
        (ExitsWhenResumed, "SystemExit: 0"),
    ):
        (found,) = [clause.detail for clause in broken(model, small) if clause.name == ROWS]
        assert found.startswith(f"{said} (test_model_contract.py, line ")


def changed(*changes: Callable[[History], None]) -> list[type[Model]]:
    """Models that differ from the sound one in what they do to the history of an epoch."""

    def made(change: Callable[[History], None]) -> type[Model]:
        class Changed(OneByOne):
            def one(self) -> History:
                history = super().one()
                change(history)
                return history

        return Changed

    return [made(change) for change in changes]


def nan_at_5(history: History) -> None:
    history.test_loss[history.epoch == 5] = np.nan


def infinite(history: History) -> None:
    history.train_loss[:] = np.inf


def nan_from_5(history: History) -> None:
    history.test_loss[history.epoch >= 5] = np.nan


def test_a_nan_that_is_no_divergence_is_found(small: Dataset) -> None:
    once, for_good, always = changed(nan_at_5, nan_from_5, infinite)
    assert only(once, small) == (FINITE, "epoch 5: test loss is nan, but epoch 6 is finite again")
    said = "epoch 5: test loss is nan, though no value before it is beyond 1e+09"
    assert only(for_good, small) == (FINITE, said)
    said = "epoch 0: train loss is inf, though no value before it is beyond 1e+09"
    assert only(always, small) == (FINITE, said)


def test_a_divergence_is_not_a_fault(small: Dataset) -> None:
    for rate in (20, 1e30):
        clauses = list(check(OneByOne, small, EPOCHS, rate))
        assert not np.isfinite(train(OneByOne, small, EPOCHS, rate, 0).train_loss).all()
        assert [clause for clause in clauses if not clause.passed] == []


def test_the_page_lists_every_clause() -> None:
    section = (ROOT / "docs" / "models.md").read_text().partition("## The contract")[2].partition("\n## ")[0]
    assert re.findall(r"^\| ([A-Z][^|]+) \| ", section, re.MULTILINE) == [*ALL, TRACE, PROCESS]
