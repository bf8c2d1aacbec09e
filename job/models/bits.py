"""Compares epochs of one model bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from db.history import Float32s, History


def rows(history: History) -> Float32s:
    """Losses and parameters, float32 [n, 2 + p]."""
    return np.column_stack([history.train_loss, history.test_loss, history.parameters])


def first_unlike(found: History, expected: History, names: Sequence[str]) -> tuple[int, str] | None:
    """The epoch of the first value of `found` with other bits than in `expected`, and which value it is.

    None if there is none. Both have the same epochs; `names` are those of the p parameters.
    """
    columns = ("train loss", "test loss", *names)
    for epoch, wanted, got in zip(expected.epoch.tolist(), rows(expected), rows(found), strict=True):
        for column in np.flatnonzero(wanted.view(np.uint32) != got.view(np.uint32)):
            return epoch, f"{columns[column]} is {got[column]!s}, not {wanted[column]!s}"
    return None
