"""The tables, as SQLAlchemy classes. Users write SQL against them: a change needs a migration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    and_,
    exists,
    text,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from db.types import JsonObject, PackedVector, UtcDateTime, database_now

STATUSES = ("running", "completed", "interrupted", "crashed", "diverged", "failed")
UNFINISHED = ("interrupted", "crashed", "failed")
"""statuses of runs that can be resumed"""
FLOAT32_MAX = "3.4028235e38"

# SQLite gives rowids only to INTEGER keys; PostgreSQL needs the range.
Id = BigInteger().with_variant(Integer(), "sqlite")


def one_of(column: str, *values: str) -> str:
    """The SQL of a CHECK that `column` is one of `values`."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can name it too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class StoreRow(Base):
    """The store itself: one row with an id that only copies of the store share."""

    __tablename__ = "store"

    id: Mapped[str] = mapped_column(Text, primary_key=True)


class DatasetRow(Base):
    """A table that was trained on, identified by its file's hash and by how the file was read."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("name", "sha256", "target", "reading"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    train_rows: Mapped[int]
    test_rows: Mapped[int]
    sum_error: Mapped[float | None] = mapped_column(Double)
    """relative error of adding the squared errors of the rows one by one in float32"""
    target_minimum: Mapped[float] = mapped_column(Double)
    target_maximum: Mapped[float] = mapped_column(Double)
    target_mean: Mapped[float] = mapped_column(Double)
    reading: Mapped[str] = mapped_column(Text)
    """the options that are not the default: a JSON object with sorted keys"""

    features: Mapped[list[FeatureRow]] = relationship(
        order_by="FeatureRow.position", cascade="all, delete-orphan", passive_deletes=True
    )


class FeatureRow(Base):
    """A feature of a dataset, with the statistics of the training rows that normalise it."""

    __tablename__ = "features"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)

    dataset_id: Mapped[int] = mapped_column(
        Id, ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    minimum: Mapped[float] = mapped_column(Double)
    maximum: Mapped[float] = mapped_column(Double)
    mean: Mapped[float] = mapped_column(Double)


class ArchiveRow(Base):
    """A whole history, packed as `db.archive` does it; all archived models of its digest share it."""

    __tablename__ = "archives"

    digest: Mapped[str] = mapped_column(Text, primary_key=True)
    """as `models.digest`"""
    epochs: Mapped[int]
    columns: Mapped[int]
    """train loss, test loss and the parameters"""
    packed: Mapped[bytes] = mapped_column(LargeBinary)


class ArchivedModelRow(Base):
    """A model whose history is read from its archive, whatever rows `epochs` has of it."""

    __tablename__ = "archived_models"
    __table_args__ = (
        ForeignKeyConstraint(["run_id", "model"], ["models.run_id", "models.name"], ondelete="CASCADE"),
        Index("ix_archived_models_digest", "digest"),
    )

    run_id: Mapped[int] = mapped_column(Id, primary_key=True)
    model: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text, ForeignKey("archives.digest"))
    archived_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """null until `job prune` has deleted all epochs that it will delete"""
    trained_at: Mapped[bytes] = mapped_column(LargeBinary)
    """`epochs.trained_at` of all epochs, packed"""


class RunRow(Base):
    """One training of all models on one dataset."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("epochs >= 1", name="epochs"),
        CheckConstraint("learning_rate > 0", name="learning_rate"),
        CheckConstraint(one_of("trigger", "manual", "nightly", "sweep"), name="trigger"),
        CheckConstraint(one_of("status", *STATUSES), name="status"),
        Index(
            "uq_runs_live_nightly",
            "trigger",
            unique=True,
            postgresql_where=text("trigger = 'nightly' AND status = 'running'"),
            sqlite_where=text("trigger = 'nightly' AND status = 'running'"),
        ),
        Index("ix_runs_dataset_id", "dataset_id"),
        Index("ix_runs_sweep", "sweep"),
        CheckConstraint("thinned_every >= 2", name="thinned_every"),
        CheckConstraint(one_of("pruning", "delete", "thin"), name="pruning"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    dataset_id: Mapped[int] = mapped_column(Id, ForeignKey("datasets.id", ondelete="CASCADE"))
    epochs: Mapped[int]
    learning_rate: Mapped[float] = mapped_column(Double)
    seed: Mapped[int] = mapped_column(BigInteger)
    trigger: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    stop_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resumes: Mapped[int] = mapped_column(default=0)
    environment: Mapped[dict[str, Any]] = mapped_column(JsonObject)
    owner: Mapped[str | None] = mapped_column(Text)
    """token of the process that trains the run or crashed; null if the run ended by itself"""
    sweep: Mapped[str | None] = mapped_column(Text)
    """name of the sweep that the run belongs to"""
    thinned_every: Mapped[int | None]
    """of a downsampled run: every Nth epoch is left, and the first, the best, the last; null: all are left"""
    pruning: Mapped[str | None] = mapped_column(Text)
    """what `job prune` is doing to the run, or was doing when it was killed; null: nothing"""

    archived: Mapped[bool] = column_property(
        exists().where(ArchivedModelRow.run_id == id).correlate_except(ArchivedModelRow)  # noqa: A003
    )

    @hybrid_property
    def whole(self) -> bool:
        """Whether no epoch was pruned or is about to be."""
        return self.thinned_every is None and self.pruning is None

    @whole.inplace.expression
    @classmethod
    def _whole(cls) -> ColumnElement[bool]:
        return and_(cls.thinned_every.is_(None), cls.pruning.is_(None))

    dataset: Mapped[DatasetRow] = relationship(lazy="joined", innerjoin=True)
    models: Mapped[list[ModelRow]] = relationship(
        order_by="ModelRow.position", lazy="selectin", passive_deletes=True
    )
    parameters: Mapped[list[ParameterRow]] = relationship(
        order_by="ParameterRow.position", passive_deletes=True
    )

    @property
    def parameter_names(self) -> list[str]:
        """What the packed vectors of its epochs hold, in order."""
        return [parameter.name for parameter in self.parameters]

    @property
    def digests(self) -> dict[str, str | None]:
        """The digest of each model by its name; two completed runs have the same bits if these are equal."""
        return {model.name: model.digest for model in self.models}

    @property
    def is_linear_regression(self) -> bool:
        """Whether its parameters are a weight for each feature and a bias."""
        return self.parameter_names == [*(feature.name for feature in self.dataset.features), "bias"]


class ModelRow(Base):
    """A model of a run, and where its code came from. The others are compared with the one at position 0."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("run_id", "position"),)

    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int]
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    """the reference that names it; of a built-in model its name"""
    source_sha256: Mapped[str | None] = mapped_column(Text)
    """of the source file; null for a built-in model"""
    digest: Mapped[str | None] = mapped_column(Text)
    """of the whole history, as in `db.digest`, in hexadecimal; null until the run is completed"""

    @property
    def described(self) -> str:
        """The name and, if it is not built in, the reference and the hash of the file."""
        sha256 = f" (sha256 {self.source_sha256[:12]})" if self.source_sha256 else ""
        return (self.name if self.source == self.name else f"{self.name}={self.source}") + sha256


class ParameterRow(Base):
    """A parameter of a run: what the packed vectors of all of its models hold at that position."""

    __tablename__ = "parameters"
    __table_args__ = (UniqueConstraint("run_id", "name"),)

    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)


class EpochRow(Base):
    """One epoch of one model: the losses before its update, the parameters after it."""

    __tablename__ = "epochs"
    __table_args__ = (
        CheckConstraint("epoch >= 0", name="epoch"),
        CheckConstraint(f"train_loss BETWEEN -{FLOAT32_MAX} AND {FLOAT32_MAX}", name="train_loss"),
        CheckConstraint(f"test_loss BETWEEN -{FLOAT32_MAX} AND {FLOAT32_MAX}", name="test_loss"),
        # All are finite. JSON has no NaN: it would be null.
        CheckConstraint("instr(parameters, 'n') = 0", name="parameters").ddl_if(dialect="sqlite"),
        CheckConstraint("NOT parameters && '{NaN,Infinity,-Infinity}'", name="parameters").ddl_if(
            dialect="postgresql"
        ),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(Text, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    train_loss: Mapped[float] = mapped_column(Double)
    test_loss: Mapped[float] = mapped_column(Double)
    parameters: Mapped[Any] = mapped_column(PackedVector)
    trained_at: Mapped[float] = mapped_column(Double)


class BlockRow(Base):
    """The digest of a model's history up to the last epoch of a block, written with the block."""

    __tablename__ = "blocks"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(Text, primary_key=True)
    last_epoch: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str | None] = mapped_column(Text)
    """in hexadecimal; null for the epochs of an earlier version until `job db upgrade` has computed it"""


class VerdictRow(Base):
    """A stored judgement of a run's history."""

    __tablename__ = "verdicts"
    __table_args__ = (
        CheckConstraint(
            one_of("kind", "parity", "reference", "drift", "integrity", "exact", "audit", "baseline"),
            name="kind",
        ),
        Index("ix_verdicts_run_id", "run_id"),
        Index("ix_verdicts_against_run_id", "against_run_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Text)
    # A verdict outlives the run it was measured against.
    against_run_id: Mapped[int | None] = mapped_column(Id, ForeignKey("runs.id", ondelete="SET NULL"))
    passed: Mapped[bool]
    first_epoch: Mapped[int | None]
    worst: Mapped[float | None] = mapped_column(Double)
    tolerance: Mapped[float] = mapped_column(Double)
    detail: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    model: Mapped[str | None] = mapped_column(Text)
    """the model that is judged; null if the verdict is about the whole run"""
    against_model: Mapped[str | None] = mapped_column(Text)


class ScheduledRunRow(Base):
    """A scheduled run: when it was due, and whether it began."""

    __tablename__ = "scheduled_runs"
    __table_args__ = (
        UniqueConstraint("schedule", "due_at"),
        CheckConstraint(one_of("status", "due", "started", "skipped", "missed", "failed"), name="status"),
        Index("ix_scheduled_runs_run_id", "run_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    schedule: Mapped[str | None] = mapped_column(Text)
    """cron expression and time zone; null if another scheduler than `job nightly` started it"""
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[str] = mapped_column(Text)
    run_id: Mapped[int | None] = mapped_column(Id, ForeignKey("runs.id", ondelete="SET NULL"))
    detail: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())


class BaselineRow(Base):
    """A decision about the baseline of a specification, the one of its run. Rows are only ever added."""

    __tablename__ = "baselines"
    __table_args__ = (
        CheckConstraint(one_of("kind", "set", "cleared"), name="kind"),
        Index("ix_baselines_run_id", "run_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    # No ON DELETE: a run that is or was a baseline cannot be deleted.
    run_id: Mapped[int] = mapped_column(Id, ForeignKey("runs.id"))
    reason: Mapped[str] = mapped_column(Text)
    set_by: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime] = mapped_column(UtcDateTime, default=database_now())
    former_run_id: Mapped[int | None] = mapped_column(Id, ForeignKey("runs.id"))
    """the baseline before it, with which it was compared; null for the first, and if cleared"""
    first_epoch: Mapped[int | None]
    """the first whose bits are not those of `former_run_id`"""
    worst: Mapped[float | None] = mapped_column(Double)
    """the largest gap to `former_run_id`; null if it is not finite"""
    environment_changes: Mapped[str | None] = mapped_column(Text)
    """what differs between the two runs' environments, in words"""

    run: Mapped[RunRow] = relationship(foreign_keys=run_id, lazy="joined", innerjoin=True)
