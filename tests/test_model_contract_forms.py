"""A model whose names, start, epochs, types or inputs are not as the contract has them is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import Model
from tests.contract import COUNT, INPUTS, NAMES, START, STAYS, TYPES, OneByOne, only


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
    assert only(named("a", "b", "", "bias"), small)[1] == "not a printable string of 1 to 4000 characters: ''"
    assert only(named("a", "b", 3, "bias"), small)[1] == "not a printable string of 1 to 4000 characters: 3"
    for bad in ("b\0", "b" * 4001):
        assert only(named("a", bad, "c", "bias"), small)[1].startswith("not a printable string")
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
