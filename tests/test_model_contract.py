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
from job.models.base import LinearRegression, Model
from job.models.contract import Clause, check, train
from job.models.python import PythonModel
from job.models.reference import BUILT_IN
from tests.conftest import ROOT
from tests.samples import write_csv

EPOCHS = 40
NAMES = "The parameters have unique names, always the same"
START = "The start has a float32 value for each name, epoch 0, and the same bits for the same seed"
COUNT = "Exactly the epochs asked for are trained, numbered on from the state's"
TYPES = "A history of n epochs has float32 losses [n] and parameters [n, p]"
INPUTS = "The dataset and the state that a model is given stay as they are"
FINITE = "Every value is finite, until the run diverges"
STAYS = "A history does not change after it is returned"
CALLS = "Cutting epochs into other calls changes no bit"
ROWS = "Going on from any stored row, in a new instance, changes no bit"
LOSSES = "The losses of an epoch belong to the parameters before its update"
INSTANCES = "The same seed gives the same bits, beside another instance too"
PROCESS = "The same seed gives the same bits in another process"
ALL = [NAMES, START, COUNT, TYPES, INPUTS, FINITE, STAYS, CALLS, ROWS, LOSSES, INSTANCES]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(write_csv(tmp_path_factory.mktemp("data") / "made.csv", rows=40, features=3))


@pytest.mark.parametrize("name", [*BUILT_IN, *CLASSES])
def test_a_model_keeps_the_contract(name: str) -> None:
    clauses = list(check(find(name), load(), EPOCHS))
    assert [clause.name for clause in clauses] == ALL
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


def broken(model: type[Model], dataset: Dataset, again: Callable[[], History] | None = None) -> list[Clause]:
    clauses = list(check(model, dataset, EPOCHS, 0.1, again=again))
    assert all(clause.passed == (clause.detail == "") for clause in clauses)
    assert not any("\n" in clause.detail for clause in clauses)
    return [clause for clause in clauses if not clause.passed]


def only(model: type[Model], dataset: Dataset) -> tuple[str, str]:
    (clause,) = broken(model, dataset)
    return clause.name, clause.detail


class OneByOne(LinearRegression):
    """The regression with an epoch for a method, so that a broken model is a few lines."""

    def advance(self, epochs: int) -> History:
        return History.concatenate([self.one() for _ in range(epochs)])

    def one(self) -> History:
        model = PythonModel(self.dataset, float(self.learning_rate), 0, State(self.parameters, self.epoch))
        history = model.advance(1)
        self.parameters, self.epoch = history.state
        return history

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.dataset = dataset


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


class TooFew(OneByOne):
    def advance(self, epochs: int) -> History:
        return super().advance(min(epochs, 20))


class Misnumbered(OneByOne):
    def advance(self, epochs: int) -> History:
        history = super().advance(epochs)
        history.epoch[:] = range(epochs)
        return history


class StandsStill(OneByOne):
    def advance(self, epochs: int) -> History:
        before = self.epoch
        history = super().advance(epochs)
        self.epoch = before
        return history


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (TooFew, "advance(37) from epoch 0 gives 20 epochs, 0 to 19"),
        (Misnumbered, "advance(3) from epoch 37 gives 3 epochs, 0 to 2"),
        (StandsStill, "after epoch 36, the attribute epoch is 0"),
    ],
)
def test_other_epochs_than_asked_for_are_found(model: type[Model], said: str, small: Dataset) -> None:
    assert only(model, small) == (COUNT, said)


class Wide(OneByOne):
    def advance(self, epochs: int) -> History:
        history = super().advance(epochs)
        values = {name: getattr(history, name) for name in ("epoch", "test_loss", "trained_at", "parameters")}
        return History(train_loss=history.train_loss.astype(np.float64), **values)


class Narrow(OneByOne):
    def advance(self, epochs: int) -> History:
        history = super().advance(epochs)
        values = {name: getattr(history, name) for name in ("epoch", "train_loss", "test_loss", "trained_at")}
        return History(parameters=history.parameters[:, :-1], **values)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Wide, "train_loss is float64 [40], not float32 [40]"),
        (Narrow, "parameters is float32 [40, 3], not float32 [40, 4]"),
    ],
)
def test_other_types_and_shapes_are_found(model: type[Model], said: str, small: Dataset) -> None:
    assert only(model, small) == (TYPES, said)


class Views(OneByOne):
    """Returns its own memory, which the next call overwrites."""

    memory: np.ndarray | None = None

    def advance(self, epochs: int) -> History:
        history = super().advance(epochs)
        if self.memory is None:
            self.memory = np.empty((100, len(self.parameters)), np.float32)
        self.memory[:epochs] = history.parameters
        values = {name: getattr(history, name) for name in ("epoch", "train_loss", "test_loss", "trained_at")}
        return History(parameters=self.memory[:epochs], **values)


def test_a_history_that_changes_later_is_found(small: Dataset) -> None:
    assert only(Views, small) == (STAYS, "advance(3), called again, changes the values of epoch 0")


def test_names_that_do_not_fit_are_found(small: Dataset) -> None:
    def named(*names: object) -> type[Model]:
        return type("Named", (OneByOne,), {"parameter_names": classmethod(lambda *_: names)})

    assert only(named("a", "b", "b", "bias"), small) == (NAMES, "'b' is there twice")
    assert only(named("a", "b", "", "bias"), small)[1] == "not a printable string of 1 to 200 characters: ''"
    assert only(named("a", "b", 3, "bias"), small)[1] == "not a printable string of 1 to 200 characters: 3"
    assert only(named("a", "b\0", "c", "bias"), small)[1].startswith("not a printable string")
    assert only(named(), small)[1] == "not a tuple of strings: ()"
    assert only(named("a", "b", "bias"), small) == (START, "4 parameters, but 3 names")
    changing = iter(["a", "b"])
    other = type("Other", (OneByOne,), {"parameter_names": classmethod(lambda *_: (next(changing),))})
    assert only(other, small) == (NAMES, "a second call gives other names")


def test_a_start_that_is_none_is_found(small: Dataset) -> None:
    def starting(start: Callable[[], object]) -> type[Model]:
        return type("Starting", (OneByOne,), {"initial": classmethod(lambda *_: start())})

    ones = np.ones(4, np.float32)
    for start, said in (
        (lambda: None, "not a State: None"),
        (lambda: State(ones.astype(float), 0), "parameters are float64 [4], not float32 [p]"),
        (lambda: State(ones[:, None], 0), "parameters are float32 [4, 1], not float32 [p]"),
        (lambda: State(ones * np.float32(np.nan), 0), "x0 is nan"),
        (lambda: State(ones, 3), "epoch is 3"),
    ):
        assert only(starting(start), small) == (START, said)
    name, said = only(starting(lambda: State(np.random.rand(4).astype(np.float32), 0)), small)
    assert name == START
    assert said.endswith(" in a second call")


class ChangesDataset(OneByOne):
    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        dataset.mean[:] += 1


class ChangesDatasetLater(OneByOne):
    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.maximum = dataset.maximum

    def one(self) -> History:
        self.maximum *= 2
        return super().one()


class ChangesRows(OneByOne):
    def one(self) -> History:
        self.test_y *= 2
        return super().one()


class ChangesState(OneByOne):
    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.given = state.parameters

    def one(self) -> History:
        history = super().one()
        self.given[:] = self.parameters
        return history


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (ChangesDataset, "__init__ changes dataset.mean"),
        (ChangesDatasetLater, "advance changes dataset.maximum"),
        (ChangesState, "advance changes state.parameters"),
    ],
)
def test_a_change_of_what_is_given_is_found(model: type[Model], said: str, small: Dataset) -> None:
    before = small.mean.tobytes() + small.maximum.tobytes()
    assert only(model, small) == (INPUTS, said)
    assert small.mean.tobytes() + small.maximum.tobytes() == before, "the caller's dataset is a copy"


def test_the_rows_that_all_models_train_on_cannot_be_changed(small: Dataset) -> None:
    clause, said = only(ChangesRows, small)
    assert (clause, said.partition(" (")[0]) == (COUNT, "epoch 0: ValueError: output array is read-only")


def test_the_page_lists_every_clause() -> None:
    section = (ROOT / "docs" / "models.md").read_text().partition("## The contract")[2].partition("\n## ")[0]
    assert re.findall(r"^\| ([A-Z][^|]+) \| ", section, re.MULTILINE) == [*ALL, PROCESS]
