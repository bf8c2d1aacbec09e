"""What makes two runs the same: the data, the target, the epochs, the learning rate and the seed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, select

from db.schema import DatasetRow, RunRow


@dataclass(frozen=True, slots=True)
class Specification:
    """A run's specification. Runs that share one should share every bit."""

    sha256: str
    """of the data file, in hexadecimal"""
    target: str
    """the column that is predicted"""
    epochs: int
    learning_rate: float
    seed: int
    """of the start weights"""

    @classmethod
    def of(cls, run: RunRow, dataset: DatasetRow | None = None) -> Specification:
        """That of a run; of one that is not stored yet, with the dataset that it is going to have."""
        data = run.dataset if dataset is None else dataset
        return cls(data.sha256, data.target, run.epochs, run.learning_rate, run.seed)

    def runs(self) -> Select[RunRow]:
        """All runs of it, the newest first."""
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
