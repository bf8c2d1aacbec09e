"""What makes two runs the same: the data, the target, the epochs, the learning rate and the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Select, select

from db.schema import DatasetRow, RunRow


class ModelSource(NamedTuple):
    """A model of a run, and where its code comes from."""

    name: str
    source: str
    source_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Specification:
    """A run's specification. Runs that share one should have the same bits."""

    sha256: str
    """of the data file, in hexadecimal"""
    target: str
    """the column that is predicted"""
    epochs: int
    learning_rate: float
    seed: int
    """of the initial weights"""

    @classmethod
    def of(cls, run: RunRow, dataset: DatasetRow | None = None) -> Specification:
        """The specification of a run; give the `dataset` of a run that is not stored yet."""
        data = run.dataset if dataset is None else dataset
        return cls(data.sha256, data.target, run.epochs, run.learning_rate, run.seed)

    def runs(self) -> Select[RunRow]:
        """All runs of this specification, newest first."""
        return (
            select(RunRow)
            .join(RunRow.dataset)
            .where(
                DatasetRow.sha256 == self.sha256,
                DatasetRow.target == self.target,
                RunRow.epochs == self.epochs,
                RunRow.learning_rate == self.learning_rate,
                RunRow.seed == self.seed,
            )
            .order_by(RunRow.id.desc())
        )
