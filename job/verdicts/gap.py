"""The gap between two histories by epoch, absolute and in units in the last place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.history import Float32s, History, Int64s, names_of_values
from db.schema import DatasetRow

MOST_NAMED = 5
"""values that a verdict names as beyond the tolerance"""
TOLERANCE = 2e-6
"""Largest gap at which two implementations agree on a small table, relative to values beyond 1.

Both compute in float32, whose spacing just below 1 is 6e-8, and sum in different orders. Over 10,000 epochs
of the default run the gap stays below 5e-7 in the losses and 3e-7 in the parameters; a wrong gradient, or a
loss computed after the update, is off by 1e-4 or more.
"""


def tolerance_for(dataset: DatasetRow) -> float:
    """The tolerance for runs on a dataset: 2e-6, sqrt(n) u or the dataset's `sum_error`, the largest of them.

    u = 2^-24 is float32's unit roundoff, n the number of training rows. The error of a sum of n terms is at
    most about n u if they are added one by one, and log2(n) u if pairwise (Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd ed. 2002, chapter 4); if the rounding errors are independent, sqrt(n) u holds in
    place of n u (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci.
    Comput. 41, 2019). They are not independent if rows repeat, as in a table of zeros and ones; `sum_error`
    is therefore measured on the table. NumPy adds the losses pairwise, Paddle one by one in a few lanes.
    Measured on 10 kinds of tables, 2,000 to 160,000 rows: the largest gap is up to 0.54 of this tolerance.
    """
    return max(TOLERANCE, math.sqrt(dataset.train_rows) * 2.0**-24, dataset.sum_error or 0.0)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two histories over the epochs that both have."""

    epochs: int
    """number of epochs compared"""
    first_epoch: int | None
    """the first whose bits differ; None if all are the same"""
    worst: float
    """the largest absolute gap; NaN if a value is not finite"""
    worst_epoch: int
    worst_value: str
    """which value it is: `train loss`, `test loss`, or a parameter's name"""
    ulps: int
    """the same gap in units in the last place of float32; not their largest number anywhere, because near
    zero, where the units are tiny, a negligible gap is millions of them"""
    beyond: tuple[tuple[int, str], ...]
    """the values with a gap beyond the tolerance, each with the first such epoch, in the order of these"""
    missing: str | None
    """the epochs that one of the two lacks, in words; None if both have the same epochs"""

    @property
    def beyond_epoch(self) -> int | None:
        """The first epoch with a gap beyond the tolerance."""
        return self.beyond[0][0] if self.beyond else None

    @property
    def same_bits(self) -> bool:
        """Whether both histories have the same epochs with the same bits."""
        return self.first_epoch is None and self.missing is None

    @property
    def within_tolerance(self) -> bool:
        """Whether both histories have the same epochs with gaps within the tolerance."""
        return self.beyond_epoch is None and self.missing is None

    def describe(self) -> str:
        """The gaps in a few words, without the missing epochs."""
        if self.first_epoch is None:
            return f"the same bits on all {self.epochs:,} epochs"
        units = "unit" if self.ulps == 1 else "units"
        return (
            f"first differing epoch {self.first_epoch}, largest gap {self.worst:.2g} ({self.worst_value}, "
            f"epoch {self.worst_epoch}: {self.ulps:,} {units} in the last place)"
        )


def describe_beyond(beyond: Sequence[tuple[int, str]]) -> str:
    """Which values are beyond what is allowed, from which epochs on, in the order of these; may be empty."""
    if not beyond:
        return ""
    named = [f"{name} from {epoch}" for epoch, name in beyond[:MOST_NAMED]]
    if len(beyond) > MOST_NAMED:
        named.append(f"{len(beyond) - MOST_NAMED} more")
    return f"beyond it from epoch {beyond[0][0]} on: {', '.join(named)}"


def difference(
    a: History,
    b: History,
    parameters: Sequence[str],
    names: tuple[str, str],
    tolerance: float = TOLERANCE,
    same: int = 0,
) -> Difference:
    """Compare `a` and `b`; `names` are for the text. Both lack their first `same` epochs, which are equal.

    Raises ValueError if the histories have no epoch in common.
    """
    common, rows_a, rows_b = np.intersect1d(a.epoch, b.epoch, assume_unique=True, return_indices=True)
    missing = _missing(a.epoch, b.epoch, names)
    if not len(common):
        if not same:
            raise ValueError("the two histories have no epoch in common")
        return Difference(same, None, 0.0, 0, "train loss", 0, (), missing)
    left, right = a.values[rows_a], b.values[rows_b]
    gap = np.abs(left.astype(np.float64) - right)
    scale = np.maximum(1, np.maximum(np.abs(left), np.abs(right)))
    different = (left.view(np.uint32) != right.view(np.uint32)).any(axis=1)
    columns = names_of_values(parameters)
    row, column = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
    return Difference(
        epochs=same + len(common),
        first_epoch=int(common[different.argmax()]) if different.any() else None,
        worst=float(gap[row, column]),
        worst_epoch=int(common[row]),
        worst_value=columns[column],
        ulps=int(ulps_apart(left[row, column], right[row, column])),
        # NaN is beyond every tolerance, hence `not <=` instead of `>`.
        beyond=tuple(firsts(common, ~(gap <= tolerance * scale), columns)),
        missing=missing,
    )


def ulps_apart(a: Float32s, b: Float32s) -> Int64s:
    """The distance of a and b in float32 values, element by element; 0 for the same bits.

    Read as integers, float32 values of one sign are ordered and consecutive (Dawson, "Comparing Floating
    Point Numbers", 2012); the negative ones are mirrored here so that the order runs through zero.
    """
    ordered = []
    for values in (a, b):
        bits = values.view(np.int32).astype(np.int64)
        ordered.append(np.where(bits < 0, -(bits & 0x7FFFFFFF) - 1, bits))
    distance: Int64s = np.abs(ordered[0] - ordered[1])
    return distance


def firsts(epochs: Int64s, found: NDArray[np.bool_], columns: Sequence[str]) -> list[tuple[int, str]]:
    """The columns in which something was found, each with its first epoch, in the order of these."""
    first = [(int(epochs[found[:, i].argmax()]), i) for i in np.flatnonzero(found.any(axis=0)).tolist()]
    return [(epoch, columns[i]) for epoch, i in sorted(first)]


def _missing(a: Int64s, b: Int64s, names: tuple[str, str]) -> str | None:
    for have, lack, name in ((a, b, names[1]), (b, a, names[0])):
        absent = np.setdiff1d(have, lack, assume_unique=True)
        if len(absent):
            return f"{name} lacks {len(absent):,} epochs, the first of them {absent[0]}"
    return None
