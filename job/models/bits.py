"""Compares epochs of one model bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from db.history import History, names_of_values


class Unlike(NamedTuple):
    """A value with other bits than expected."""

    epoch: int
    name: str
    """`train loss`, `test loss`, or a parameter's name"""
    found: np.float32
    expected: np.float32

    @property
    def described(self) -> str:
        """The two values, in a few words."""
        return f"{self.name} is {self.found!s}, not {self.expected!s}"

    @property
    def replayed(self) -> str:
        """The two values in a few words, of which the expected one is stored."""
        return f"the stored {self.name} is {self.expected!s}, the replayed one {self.found!s}"


def first_unlike(found: History, expected: History, names: Sequence[str]) -> Unlike | None:
    """The first value of `found` with other bits than in `expected`; None if there is none.

    Both have the same epochs; `names` are those of the p parameters.
    """
    columns = names_of_values(names)
    for epoch, wanted, got in zip(expected.epoch.tolist(), expected.values, found.values, strict=True):
        for column in np.flatnonzero(wanted.view(np.uint32) != got.view(np.uint32)):
            return Unlike(epoch, columns[column], got[column], wanted[column])
    return None
