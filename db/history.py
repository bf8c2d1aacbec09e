"""`History`: the one form in which all packages pass training history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]


class State(NamedTuple):
    """All that a model needs to continue: its parameters and the number of epochs trained."""

    parameters: Float32s
    """float32 [p]"""
    epoch: int
    """the next epoch to train; 0 for an untrained model"""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """n epochs of one model, in order; consecutive unless only some were read or kept.

    The losses of an epoch belong to the parameters before its update; `parameters` are those after it. So the
    last row is the model's whole state, and the store is the checkpoint.
    """

    epoch: Int64s
    """int64 [n], counted from 0"""
    train_loss: Float32s
    """float32 [n], over the training rows; of a linear regression in normalised target units squared"""
    test_loss: Float32s
    """float32 [n], the same over the test rows"""
    parameters: Float32s
    """float32 [n, p]; of a linear regression the weights, in the order of the features, then the bias"""
    trained_at: Float64s
    """float64 [n], Unix seconds by the trainer's clock"""

    @classmethod
    def empty(cls, epochs: int, parameters: int, first_epoch: int = 0) -> History:
        """Space for `epochs` epochs of so many parameters, with all values but `epoch` not yet set."""
        return cls(
            epoch=np.arange(first_epoch, first_epoch + epochs, dtype=np.int64),
            train_loss=np.empty(epochs, np.float32),
            test_loss=np.empty(epochs, np.float32),
            parameters=np.empty((epochs, parameters), np.float32),
            trained_at=np.empty(epochs, np.float64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[History]) -> History:
        """All `parts` in their order, as one history. Raises ValueError if there are none."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def __len__(self) -> int:
        return len(self.epoch)

    def __getitem__(self, rows: slice | Int64s) -> History:
        return History(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def values(self) -> Float32s:
        """Losses and parameters, float32 [n, 2 + p]; `names_of_values` names the columns."""
        return np.column_stack([self.train_loss, self.test_loss, self.parameters])

    @property
    def state(self) -> State:
        """The state after the last epoch. Raises IndexError for a history of no epochs."""
        return State(self.parameters[-1], int(self.epoch[-1]) + 1)

    def finite(self) -> History:
        """The epochs before the first with a NaN or an infinity; all of them if there is none."""
        good = np.isfinite(self.train_loss) & np.isfinite(self.test_loss)
        good &= np.isfinite(self.parameters).all(axis=1)
        return self if good.all() else self[: int(np.argmin(good))]

    def as_stored(self) -> History:
        """The history as the store has it: a loss of -0.0 is 0.0, as SQLite has no negative zero."""
        return replace(self, train_loss=self.train_loss + 0, test_loss=self.test_loss + 0)

    def same_bits(self, other: History) -> bool:
        """Whether epochs, losses and parameters are equal bit for bit (`trained_at` is ignored)."""
        return np.array_equal(self.epoch, other.epoch) and all(
            np.array_equal(mine.view(np.uint32), theirs.view(np.uint32))
            for mine, theirs in (
                (self.train_loss, other.train_loss),
                (self.test_loss, other.test_loss),
                (self.parameters, other.parameters),
            )
        )


def names_of_values(parameters: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns of `History.values`, given those of the p parameters."""
    return ("train loss", "test loss", *parameters)
