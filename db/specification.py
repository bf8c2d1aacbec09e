"""What makes two runs the same: the data and how they are read, target, epochs, rate, seed, models."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, and_, select, true

from db.model_source import ModelSource
from db.schema import DatasetRow, ModelRow, RunRow


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
    """of the initial parameters"""
    models: tuple[ModelSource, ...]
    reading: str
    """the options by which the file was read and split, as `datasets.reading` has them"""

    @classmethod
    def of(cls, run: RunRow, dataset: DatasetRow | None = None) -> Specification:
        """The specification of a run; give the `dataset` of a run that is not stored yet."""
        data = run.dataset if dataset is None else dataset
        models = tuple(ModelSource(row.name, row.source, row.source_sha256) for row in run.models)
        return cls(data.sha256, data.target, run.epochs, run.learning_rate, run.seed, models, data.reading)

    def runs(self) -> Select[RunRow]:
        """All runs of this specification, newest first."""
        same = [
            RunRow.models.any(
                and_(
                    ModelRow.position == position,
                    ModelRow.name == model.name,
                    ModelRow.source_sha256.is_not_distinct_from(model.source_sha256),
                    # The same file may lie elsewhere on another machine.
                    true() if model.source_sha256 else ModelRow.source == model.source,
                )
            )
            for position, model in enumerate(self.models)
        ]
        return (
            select(RunRow)
            .join(RunRow.dataset)
            .where(
                DatasetRow.sha256 == self.sha256,
                DatasetRow.target == self.target,
                DatasetRow.reading == self.reading,
                RunRow.epochs == self.epochs,
                RunRow.learning_rate == self.learning_rate,
                RunRow.seed == self.seed,
                *same,
                ~RunRow.models.any(ModelRow.position >= len(self.models)),
            )
            .order_by(RunRow.id.desc())
        )

    def nights(self) -> Select[RunRow]:
        """The completed scheduled runs of this specification, newest first."""
        return self.runs().where(RunRow.trigger == "nightly", RunRow.status == "completed")
