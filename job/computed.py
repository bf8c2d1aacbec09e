"""The named queries whose answers are computed in NumPy: as SQL they took three times as long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from db.history import Float64s, History, names_of_values
from db.schema import RunRow
from job.data.dataset import Dataset
from job.stretches import RowsBehind, Stretch, best_to_last, rounding, rows_behind, stretches
from job.verdicts.exact import path_of
from job.verdicts.path import ExactPath


class Parity(NamedTuple):
    """A row of `parity`."""

    model: str
    against_model: str
    quantity: str
    largest_gap: float
    epoch: int
    first_epoch: int | None


class Turn(NamedTuple):
    """A row of `turning-points`."""

    model: str
    parameter: str
    epoch: int
    value: float
    went_before: float
    went_after: float
    train_loss: float
    loss_fall_before: float | None
    loss_fall_after: float | None
    test_rises_from: int | None
    test_rises_to: int | None
    predicted_epoch: int | None
    short_half_life: float | None
    long_half_life: float | None


class Rise(NamedTuple):
    """A row of `overfitting`."""

    model: str
    what: str
    from_epoch: int
    to_epoch: int
    from_test_loss: float
    to_test_loss: float
    rise: float
    rise_percent: float | None
    from_train_loss: float
    to_train_loss: float
    parameters: list[str] | None
    rows_for_half: int | None
    test_rows: list[int] | None
    shares: list[float] | None


@dataclass(frozen=True, slots=True)
class Course:
    """A run with its stored epochs, and its dataset if the data file is found."""

    run: RunRow
    histories: Mapping[str, History]
    """by model; at least one epoch each"""
    dataset: Dataset | None


def parity(course: Course) -> list[Parity]:
    """The largest gap between the first model and each other, for each loss and parameter."""
    first, *others = (model.name for model in course.run.models)
    rows = []
    for model in others:
        if first not in course.histories or model not in course.histories:
            continue
        one, other = course.histories[first], course.histories[model]
        epoch, left, right = np.intersect1d(one.epoch, other.epoch, assume_unique=True, return_indices=True)
        gaps = np.abs(one.values[left].astype(np.float64) - other.values[right])
        for quantity, gap in zip(names_of_values(course.run.parameter_names), gaps.T, strict=True):
            if len(epoch):
                at = (float(gap.max()), int(epoch[gap.argmax()]), next(iter(epoch[gap > 0].tolist()), None))
                rows.append(Parity(model, first, quantity, *at))
    return sorted(rows, key=lambda row: (row.model, -row.largest_gap, row.quantity))


def turning_points(course: Course, least: float = 0.001, around: int = 50) -> list[Turn]:
    """The turns of each parameter, with the losses there and the turn of the exact path."""
    path = path_of(course.run, course.dataset)
    rows = []
    for model, history in course.histories.items():
        train = dict(zip(history.epoch.tolist(), history.train_loss.tolist(), strict=True))
        rising = [each.epochs for each in stretches(history, rounding(course.run.dataset))]
        for position, name in enumerate(course.run.parameter_names):
            values = history.parameters[:, position].astype(np.float64)
            for i, before, after in turns(values, least):
                epoch = int(history.epoch[i])
                earlier, here, later = (train.get(epoch + shift) for shift in (-around, 0, around))
                rises = next((each for each in rising if each[0] <= epoch <= each[1]), (None, None))
                predicted = path.turn(position, epoch, before) if isinstance(path, ExactPath) else None
                rows.append(
                    Turn(
                        model,
                        name,
                        epoch,
                        float(values[i]),
                        before,
                        after,
                        train[epoch],
                        None if earlier is None else (earlier - here) / around,
                        None if later is None else (here - later) / around,
                        rises[0],
                        rises[1],
                        predicted.epoch if predicted else None,
                        round(predicted.short_half_life, 1) if predicted else None,
                        round(predicted.long_half_life, 1) if predicted else None,
                    )
                )
    return sorted(rows, key=lambda row: (row.model, row.epoch, row.parameter))


def turns(values: Float64s, least: float) -> Iterator[tuple[int, float, float]]:
    """(position, distance before, distance after) of each turn with distances of at least `least`."""
    moved = np.flatnonzero(np.diff(values, prepend=np.nan))
    steps = np.sign(np.diff(values[moved]))
    ends = moved[np.concatenate([[0], 1 + np.flatnonzero(steps[1:] != steps[:-1]), [len(moved) - 1]])]
    ways = np.diff(values[ends])
    for i in np.flatnonzero((np.abs(ways[:-1]) >= least) & (np.abs(ways[1:]) >= least)):
        yield int(ends[i + 1]), float(ways[i]), float(ways[i + 1])


def overfitting(course: Course, least: float) -> list[Rise]:
    """The stretches of each model, and how far its test loss has risen since the best."""
    turning = turning_points(course)
    rows = []
    for model, history in sorted(course.histories.items()):
        for stretch in stretches(history, least):
            first, last = stretch.epochs
            behind = None
            if course.dataset is not None and course.run.is_linear_regression:
                behind = rows_behind(stretch, history, course.dataset, course.run.seed, least)
            names = [
                turn.parameter for turn in turning if turn.model == model and first <= turn.epoch <= last
            ]
            rows.append(rise(model, "stretch", stretch, names, behind))
        rows.append(rise(model, "best to last", best_to_last(history)))
    return rows


def rise(
    model: str,
    what: str,
    stretch: Stretch,
    parameters: list[str] | None = None,
    behind: RowsBehind | None = None,
) -> Rise:
    """A row of `overfitting`."""
    before = stretch.test[0]
    return Rise(
        model,
        what,
        *stretch.epochs,
        *stretch.test,
        stretch.rise,
        100 * stretch.rise / before if before else None,
        *stretch.train,
        parameters,
        *((behind.for_half, behind.largest, behind.shares) if behind else (None, None, None)),
    )


COMPUTED: dict[str, tuple[Callable[..., list[Any]], tuple[str, ...]]] = {
    "parity": (parity, Parity._fields),
    "turning-points": (turning_points, Turn._fields),
    "overfitting": (overfitting, Rise._fields),
}
"""by the name of the query: what computes its rows, and their columns"""
