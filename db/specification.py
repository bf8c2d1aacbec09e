"""What makes two runs the same: the data and how they are read, target, epochs, rate, seed, models."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, func, select

from db.model_source import ModelSource
from db.schema import DatasetRow, ModelRow, RunRow


@dataclass(frozen=True, slots=True)
class Specification:
    """A run's specification. Runs that share one should have the same bits.

    The place of a model's file is not compared: it may be another one on another machine.
    """

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

    @property
    def _compared(self) -> tuple[object, ...]:
        models = [model.compared for model in self.models]
        return self.sha256, self.target, self.epochs, self.learning_rate, self.seed, self.reading, *models

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Specification) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

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
                    has_class(model.class_name) if model.source_sha256 else ModelRow.source == model.source,
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


def has_class(name: str) -> ColumnElement[bool]:
    """Whether a model's `class_name` is this one. LIKE would ignore the case on SQLite."""
    source, end = ":" + ModelRow.source, f":{name}"
    return func.substr(source, func.length(source) - len(name)) == end
