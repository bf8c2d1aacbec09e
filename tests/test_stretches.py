"""Stretches: what they are, recomputed from their definition, and which test rows they are made of."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.history import History
from job.computed import Course, overfitting
from job.data.dataset import DEFAULT_DATA, load
from job.stretches import best_to_last, rounding, rows_behind, stretches
from job.verdicts.gap import tolerance_for
from tests.samples import history, model, regression, run_row

LEAST = 0.1
LOSSES = st.lists(st.integers(0, 40), min_size=1, max_size=30)


def made(test: list[float], train: list[float] | None = None) -> History:
    own = history(len(test))
    own.test_loss[:] = test
    own.train_loss[:] = np.linspace(1, 0.5, len(test)) if train is None else train
    return own


def falls(values: list[float]) -> float:
    """The largest fall from any value to a later one."""
    return max((a - b for a, b in combinations(values, 2)), default=0.0)


@given(test=LOSSES, train=LOSSES)
def test_in_a_stretch_the_test_loss_rises_and_the_train_loss_falls(test: list[int], train: list[int]) -> None:
    size = min(len(test), len(train))
    own = made([i / 64 for i in test[:size]], [i / 64 for i in train[:size]])
    found = stretches(own, LEAST)
    for each in found:
        rows = slice(each.epochs[0], each.epochs[1] + 1)
        inside, beside = own.test_loss[rows].tolist(), own.train_loss[rows].tolist()
        assert (each.test, each.train) == ((inside[0], inside[-1]), (beside[0], beside[-1]))
        assert inside[-1] - inside[0] > LEAST
        assert beside[-1] < beside[0]
        assert falls(inside) <= LEAST
        assert falls(beside[::-1]) <= LEAST
    for one, next_one in pairwise(found):
        assert one.epochs[1] <= next_one.epochs[0]


@given(test=LOSSES)
def test_every_rise_without_a_fall_in_it_is_in_a_stretch(test: list[int]) -> None:
    values = [i / 64 for i in test]
    found = [range(each.epochs[0], each.epochs[1] + 1) for each in stretches(made(values), LEAST)]
    for a, b in combinations(range(len(values)), 2):
        if values[b] - values[a] > LEAST and falls(values[a : b + 1]) <= LEAST:
            assert any(len({*each} & {*range(a, b + 1)}) >= 2 for each in found)
    for one, next_one in pairwise(found):
        assert falls(values[one[-1] : next_one[0] + 1]) > LEAST


def test_a_rise_while_the_train_loss_rises_too_is_none() -> None:
    both = [0.1, 0.3, 0.5]
    assert stretches(made(both, both), LEAST) == []
    (found,) = stretches(made([0.1, 0.3, 0.5, 0.7], [0.9, 0.2, 0.5, 0.9]), LEAST)
    assert found.epochs == (0, 1)


def test_a_stretch_begins_and_ends_at_the_first_of_equal_losses() -> None:
    found = stretches(made([0.5, 0.1, 0.1, 0.5, 0.9, 0.9, 0.5, 0.1]), LEAST)
    assert [each.epochs for each in found] == [(1, 4)]


def test_the_bound_is_relative_to_losses_beyond_1() -> None:
    assert stretches(made([100, 105]), LEAST) == []
    (found,) = stretches(made([100, 120]), LEAST)
    assert found.rise == 20


def test_rounding_is_no_stretch_and_a_rise_slower_than_rounding_is_one() -> None:
    noise = np.random.RandomState(0).randint(-2, 3, 5000) * 2.0**-24
    least = rounding(run_row().dataset)
    assert least == 2 * tolerance_for(run_row().dataset)
    falling = np.linspace(0.6001, 0.6, 5000) + noise
    assert (np.diff(falling.astype(np.float32)) > 0).any()
    assert stretches(made(falling.tolist()), least) == []
    assert stretches(made((0.6 + noise).tolist()), least) == []
    slow = 0.6 + np.arange(5000) * 2.0**-27 + noise  # an eighth of a unit in the last place each epoch
    (found,) = stretches(made(slow.tolist()), least)
    assert found.epochs[0] < 200
    assert found.epochs[1] > 4800


@pytest.fixture(scope="module")
def own() -> History:
    return model("python", load(), 0.01).advance(1200)


def test_the_default_run_overfits_from_epoch_112_to_507(own: History) -> None:
    dataset = load()
    (found,) = stretches(own, rounding(dataset.row()))
    rising = np.flatnonzero(np.diff(own.test_loss) > 0)
    assert found.epochs == (rising[0], rising[-1] + 1) == (112, 507)
    assert len(rising) == 507 - 112  # with no fall in between
    assert np.round(found.test, 2).tolist() == [0.47, 0.99]
    assert best_to_last(own).epochs == (112, 1199)
    behind = rows_behind(found, own, dataset, 0, rounding(dataset.row()))
    assert behind is not None

    table = np.loadtxt(DEFAULT_DATA)  # the same from the file, in float64
    low, high, mean = table[:404].min(0), table[:404].max(0), table[:404].mean(0)
    test = (table[404:] - mean) / (high - low)
    squares = []
    for epoch in found.epochs:
        *weights, bias = own.parameters[epoch - 1].tolist()
        squares.append([(sum(map(float.__mul__, weights, row[:-1])) + bias - row[-1]) ** 2 for row in test])
    growth = (np.array(squares[1]) - squares[0]) / len(test)
    assert growth.sum() == pytest.approx(found.rise, abs=1e-6)
    order = sorted(range(len(test)), key=lambda i: -growth[i])
    assert behind.largest == [i + 1 for i in order[:5]] == [20, 8, 47, 9, 63]
    assert behind.shares == pytest.approx(growth[order[:5]] / growth.sum(), abs=1e-4)
    assert behind.for_half == 12
    assert growth[order[:11]].sum() < growth.sum() / 2 < growth[order[:12]].sum()


def test_the_parameters_of_a_stretch_are_those_that_turn_in_it(own: History) -> None:
    dataset = load()
    run = regression(run_row(learning_rate=0.01, epochs=1200), dataset.row())
    names = run.parameter_names
    stretch, _ = overfitting(Course(run, {"python": own}, dataset), rounding(run.dataset))
    inside = own.parameters[111:509, :-1].astype(float)  # the bias is noise
    steps = np.diff(inside, axis=0)
    turns = {
        names[i]: int(np.flatnonzero(steps[:-1, i] * steps[1:, i] < 0)[0])
        for i in np.flatnonzero((steps[:-1] * steps[1:] < 0).any(axis=0))
    }
    assert stretch.parameters == sorted(turns, key=turns.__getitem__) == ["B", "ZN", "PTRATIO", "RAD", "DIS"]
    assert stretch.test_rows == [20, 8, 47, 9, 63]


def test_rows_are_told_only_where_the_stored_parameters_give_the_stored_loss(own: History) -> None:
    dataset = load()
    least = rounding(dataset.row())
    (found,) = stretches(own, least)
    assert rows_behind(found, own[112:], dataset, 0, least) is None  # without the epoch before the first
    assert rows_behind(found, own[111:], dataset, 0, least) is not None
    other = replace(found, test=(found.test[0] + 1e-4, found.test[1]))  # as of another loss
    assert rows_behind(other, own, dataset, 0, least) is None
    start = replace(found, epochs=(0, 507), test=(float(own.test_loss[0]), found.test[1]))
    assert rows_behind(start, own, dataset, 0, least) is not None  # the start is that of the seed
    assert rows_behind(start, own, dataset, 1, least) is None
