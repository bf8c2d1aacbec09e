"""The store: runs, their epochs and their verdicts, in one SQL database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, make_transient, selectinload

from db.backends import postgresql, sqlite
from db.database import PROGRESS, Database
from db.epochs import ARCHIVED, as_history, from_archive, one_snapshot, require_whole, stored_rows
from db.errors import CorruptedError, LeaseHeldError, NotFoundError, naming
from db.lease import RunWriter, acquire, checkpoints, mark_crashed, stalled_runs, try_acquire
from db.model_source import DEFAULT_SOURCES, ModelSource
from db.owner import new_token
from db.schema import (
    UNFINISHED,
    BaselineRow,
    DatasetRow,
    EpochRow,
    ModelRow,
    ParameterRow,
    RunRow,
    ScheduledRunRow,
    StoreRow,
    VerdictRow,
)
from db.specification import Specification
from db.start import insert_run

if TYPE_CHECKING:
    from db.history import History, State

Result = TypeVar("Result")
Row = TypeVar("Row", VerdictRow, ScheduledRunRow, BaselineRow)
LARGEST_ID = 2**63 - 1


class Store(Database):
    """An open store: runs as objects of `db.schema`, their epochs as `History`. Opened like a `Database`."""

    def read(self, work: Callable[[Session], Result]) -> Result:
        """The result of `work` in one read transaction, retried like `connected`. Raises likewise."""

        def attempt(_: int) -> Result:
            with Session(self.engine, expire_on_commit=False) as session:
                return work(session)

        with naming(""):
            return self.waiting(attempt)

    def write(self, work: Callable[[Session, int], Result]) -> Result:
        """The result of `work(session, attempt)`, committed as one transaction, retried likewise.

        `attempt` counts from 1: an earlier one may have been committed before its connection broke. Raises
        StoreFailedError if the database stays unreachable for too long, and for a full disk.
        """

        def attempt(number: int) -> Result:
            with Session(self._writing, expire_on_commit=False) as session, session.begin():
                return work(session, number)

        return self.waiting(attempt)

    @cached_property
    def id(self) -> str:
        """The store's id: 32 hexadecimal digits, the same in its copies."""
        return self.read(lambda session: session.scalars(select(StoreRow.id)).one())

    def damage(self) -> list[str]:
        """What SQLite itself finds wrong with the file, a line each; nothing on PostgreSQL."""
        if not self.path:
            return []
        try:
            return self.connected(sqlite.damage)
        except CorruptedError as error:
            return [str(error)]

    def size(self) -> int:
        """Bytes that the tables and indexes take; without the free pages of a SQLite file."""
        return self.connected(sqlite.size if self.path else postgresql.size)

    # -- runs ------------------------------------------------------------------------------------

    def start_run(
        self,
        dataset: DatasetRow,
        *,
        epochs: int,
        learning_rate: float,
        seed: int,
        environment: dict[str, Any],
        trigger: str = "manual",
        scheduled_run: int | None = None,
        sweep: str | None = None,
        models: Sequence[ModelSource] = DEFAULT_SOURCES,
        parameters: Sequence[str] | None = None,
    ) -> RunWriter:
        """Start a run; return its only writer. `dataset` is stored once.

        `parameters` names what its vectors hold; None stands for the features of `dataset` and `bias`.

        Raises LeaseHeldError if another nightly run is live, if `scheduled_run` (its id) is no longer
        due, or if `sweep` already has a run with these settings.
        """
        token = new_token()
        names = (
            [*(feature.name for feature in dataset.features), "bias"] if parameters is None else parameters
        )

        def work(session: Session, attempt: int) -> int:
            run = RunRow(  # a new one for each attempt: a row belongs to the session that it was added to
                epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                trigger=trigger,
                status="running",
                environment=environment,
                owner=token,
                sweep=sweep,
                models=[ModelRow(position=i, **model._asdict()) for i, model in enumerate(models)],
                parameters=[ParameterRow(position=i, name=name) for i, name in enumerate(names)],
            )
            return insert_run(session, attempt, run, dataset, scheduled_run, self.heartbeat_timeout)

        try:
            run_id = acquire(self, work)
        except LeaseHeldError as error:
            if trigger != "nightly":
                raise
            raise LeaseHeldError(f"one nightly run at a time: {error}") from None
        return RunWriter(self, run_id, token)

    def resume_run(self, run_id: int, *, epochs: int | None = None, environment: Any) -> RunWriter:
        """Resume a stopped run; return its only writer. `epochs` lengthens it.

        If the run's trainer may be dead, waits for up to the heartbeat timeout. Raises StoreError if the
        trainer is alive, or the run cannot be resumed.
        """
        token = new_token()

        def work(session: Session, _: int) -> None:
            try_acquire(session, run_id, token, self.heartbeat_timeout, epochs, environment)

        acquire(self, work)
        return RunWriter(self, run_id, token)

    def mark_crashed(self) -> None:
        """Mark stalled runs as crashed, if the store can be written."""
        if not self.read(lambda session: stalled_runs(session, self.heartbeat_timeout)):
            return  # the usual case needs no write lock
        try:
            with Session(self._writing) as session, session.begin():
                mark_crashed(session, self.heartbeat_timeout)
        except DBAPIError:
            return  # the store is read-only or busy: readers see the rows as they are

    def all(self, query: Select[Result]) -> Sequence[Result]:
        """The rows of a query for one class or one column."""
        return self.read(lambda session: session.scalars(query).all())

    def first(self, query: Select[Result]) -> Result | None:
        """The first row of such a query; None if there is none."""
        return self.read(lambda session: session.scalars(query.limit(1)).first())

    def runs(self) -> Sequence[RunRow]:
        """The runs, newest first, each with its dataset."""
        return self.all(select(RunRow).order_by(RunRow.id.desc()))

    def run(self, reference: int | str = "latest") -> RunRow:
        """One run, with dataset, features and parameters, by its id or as `latest`. Raises NotFoundError."""
        query = select(RunRow).options(
            selectinload(RunRow.dataset, DatasetRow.features), selectinload(RunRow.parameters)
        )
        if reference == "latest":
            query = query.order_by(RunRow.id.desc())
        else:
            if not str(reference).isascii() or not str(reference).isdigit():
                raise NotFoundError(f"{reference!r} is no run: give its number, or `latest`")
            query = query.where(RunRow.id == min(int(reference), LARGEST_ID))
        with naming(f"run {reference}"):
            found = self.first(query)
        if found is None:
            everything = "the store has no runs yet; `job train` makes one"
            missing = f"there is no run {reference}; `job runs` lists what there is"
            raise NotFoundError(everything if reference == "latest" else missing)
        return found

    # -- epochs ----------------------------------------------------------------------------------

    def progress(self, run_id: int) -> dict[str, int]:
        """The number of epochs of each model of a run: one more than its last stored epoch."""
        query = text(PROGRESS.format(where="WHERE run_id = :run"))
        rows = self.read(lambda session: session.execute(query, {"run": run_id}).all())
        return {row.model: row.epochs for row in rows}

    def checkpoints(self, run_id: int) -> dict[str, State]:
        """The state of each model of a run, as from `db.lease.checkpoints`. Raises likewise."""
        return self.read(lambda session: checkpoints(session, session.get_one(RunRow, run_id)))

    def newest_unfinished(
        self, specification: Specification, *, trigger: str, sweep: str | None = None
    ) -> RunRow | None:
        """The newest whole run of this specification that is unfinished or running."""
        query = specification.runs().where(
            RunRow.trigger == trigger,
            RunRow.sweep.is_not_distinct_from(sweep),
            RunRow.whole,
            RunRow.status.in_((*UNFINISHED, "running")),
        )
        return self.first(query)

    def history(
        self, run_id: int, model: str, first_epoch: int = 0, last_epoch: int | None = None, step: int = 1
    ) -> History:
        """The stored epochs of one model from `first_epoch` to `last_epoch`, every `step`-th; maybe none."""
        with naming(f"run {run_id}, {model}"):
            found = self.epoch_rows(run_id, model, first_epoch, last_epoch, step)
            return as_history(found) if isinstance(found, list) else found

    def epoch_rows(
        self, run_id: int, model: str, first_epoch: int = 0, last_epoch: int | None = None, step: int = 1
    ) -> list[Any] | History:
        """The same epochs in order, as rows of `HISTORY_COLUMNS` with the values that the database has.

        Of an archived model, which has no such rows, its history. Another process may archive it or put its
        epochs back meanwhile.
        """
        query = stored_rows(run_id, model).where(EpochRow.epoch >= first_epoch)
        if last_epoch is not None:
            query = query.where(EpochRow.epoch <= last_epoch)
        if step > 1:
            query = query.where(EpochRow.epoch % step == 0)

        def work(session: Session) -> list[Any] | History:
            one_snapshot(session)
            archive = session.execute(ARCHIVED, {"run_id": run_id, "model": model}).first()
            if archive is not None:
                return from_archive(archive, first_epoch, last_epoch, step)
            return list(session.execute(query).all())

        return self.read(work)

    # -- verdicts --------------------------------------------------------------------------------

    def add_verdict(self, verdict: VerdictRow) -> VerdictRow:
        """Store a verdict unless the newest of its kind, runs and models is equal; return the stored one.

        Raises StoreError if a run that it is about was pruned while it was being judged.
        """
        newest = (
            select(VerdictRow)
            .where(
                VerdictRow.run_id == verdict.run_id,
                VerdictRow.kind == verdict.kind,
                VerdictRow.against_run_id == verdict.against_run_id,
                VerdictRow.model == verdict.model,
                VerdictRow.against_model == verdict.against_model,
            )
            .order_by(VerdictRow.id.desc())
            .limit(1)
        )
        said = ("passed", "first_epoch", "worst", "tolerance", "detail")
        about = select(RunRow).where(RunRow.id.in_([verdict.run_id, verdict.against_run_id]))

        def work(session: Session, _: int) -> VerdictRow:
            require_whole(session.scalars(about).all(), "judged")
            last = session.scalar(newest)
            if last is not None and all(getattr(last, name) == getattr(verdict, name) for name in said):
                return last
            return add(session, verdict)

        return self.write(work)

    def verdicts(self, run_id: int) -> Sequence[VerdictRow]:
        """The verdicts of a run, oldest first."""
        return self.all(select(VerdictRow).where(VerdictRow.run_id == run_id).order_by(VerdictRow.id))


def add(session: Session, row: Row) -> Row:
    """The row, stored now or by an earlier attempt whose connection broke after its commit."""
    if row.id is not None:  # set by an earlier attempt
        # On SQLite such an attempt was rolled back, and its id may be another row's by now.
        stored = session.get(type(row), row.id) if session.get_bind().dialect.name == "postgresql" else None
        if stored is not None:
            return stored
        make_transient(row)
        row.id = None  # type: ignore[assignment]
    session.add(row)
    session.flush()
    return row
