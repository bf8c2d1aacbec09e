"""Stretches of epochs in which the test loss rises while the train loss falls, and the test rows behind."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from db.history import History
from db.schema import DatasetRow
from job.data.dataset import Dataset
from job.models.base import LinearRegression
from job.verdicts.gap import tolerance_for

MOST_ROWS = 5
"""test rows that a stretch names"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The train and test loss at the first and the last epoch of some epochs, each [2]."""

    epochs: tuple[int, int]
    train: tuple[float, float]
    test: tuple[float, float]

    @property
    def rise(self) -> float:
        """How much the test loss rises; negative if it falls."""
        return self.test[1] - self.test[0]


@dataclass(frozen=True, slots=True)
class RowsBehind:
    """The rows of the test set whose squared errors grow most in a stretch."""

    for_half: int
    """the fewest test rows whose squared errors together grow by half of the rise"""
    largest: list[int]
    """the MOST_ROWS whose squared errors grow most, counted from 1 in the test set"""
    shares: list[float]
    """the growth of each of them in relation to the rise; that of all test rows is 1"""


def rounding(dataset: DatasetRow) -> float:
    """The largest rise of a loss that rounding may explain, relative to losses beyond 1.

    Two correct implementations may store losses that are `tolerance_for` apart. A rise is the difference of
    two stored losses, so it may be off by twice as much.
    """
    return 2 * tolerance_for(dataset)


def ends(history: History, first: int, last: int) -> Stretch:
    """From row `first` to row `last` of a history of at least one epoch."""
    rows = [first, last]
    both = (history.epoch, history.train_loss, history.test_loss)
    return Stretch(*(tuple(values[rows].tolist()) for values in both))


def best_to_last(history: History) -> Stretch:
    """From the first epoch with the best test loss to the last epoch."""
    return ends(history, int(np.argmin(history.test_loss)), len(history) - 1)


def stretches(history: History, least: float) -> list[Stretch]:
    """Every stretch in which the test loss rises by more than `least` while the train loss falls, in order.

    It begins and ends where one of the two losses turns. Movements of up to `least` are no turns; beyond a
    loss of 1, `least` is relative to it.
    """
    losses = (history.train_loss, history.test_loss)
    cuts = sorted({row for loss in losses for row in turns(loss.tolist(), least)})
    parts = [ends(history, first, last) for first, last in pairwise(cuts)]
    return [
        part
        for part in parts
        if part.rise > least * max(1, abs(part.test[1])) and part.train[1] < part.train[0]
    ]


def turns(values: list[float], least: float) -> list[int]:
    """Where a loss turns: the lowest and highest values between movements of more than `least`, in order.

    The first and the last of them are where the first such movement begins and the last one ends; there are
    none if it never moves so far.
    """
    found: list[int] = []
    low = high = 0
    falling = rising = True  # neither is ruled out yet
    for i, value in enumerate(values):
        margin = least * max(1, abs(value))
        low, high = (i if value < values[low] else low), (i if value > values[high] else high)
        if falling and value - values[low] > margin:
            found.append(low)
            falling, rising, high = False, True, i
        elif rising and values[high] - value > margin:
            found.append(high)
            falling, rising, low = True, False, i
    return [*found, low if falling else high] if found else []


def rows_behind(
    stretch: Stretch, history: History, dataset: Dataset, seed: int, least: float
) -> RowsBehind | None:
    """The rows of the test set that a stretch of a linear regression is made of.

    The losses of an epoch belong to the parameters that are stored with the epoch before; before epoch 0 they
    are those of the seed. None if they are not stored, or do not give the stored losses: a model may have
    another start, or another loss than the mean squared error.
    """
    y = dataset.test_y[:, 0].astype(np.float64)
    errors = []
    for epoch, loss in zip(stretch.epochs, stretch.test, strict=True):
        found = history.parameters[history.epoch == epoch - 1]
        if epoch == 0:
            found = LinearRegression.initial(dataset, seed).parameters[None]
        if not len(found):
            return None
        *weights, bias = found[0].astype(np.float64)
        errors.append(dataset.test_x.astype(np.float64) @ weights + bias - y)
        if abs(np.mean(errors[-1] ** 2) - loss) > least * max(1, loss):
            return None
    growth = (errors[1] ** 2 - errors[0] ** 2) / len(y)
    order = np.argsort(-growth, kind="stable")
    return RowsBehind(
        1 + int(np.argmax(np.cumsum(growth[order]) >= growth.sum() / 2)),
        (1 + order[:MOST_ROWS]).tolist(),
        np.round(growth[order[:MOST_ROWS]] / growth.sum(), 4).tolist(),
    )
