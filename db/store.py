"""The store: runs, their epochs and their verdicts, in one SQL database that is the truth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Select, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, selectinload

from db.engine import create_store_engine, parse_url, sqlite_path
from db.errors import NotFoundError, StoreError
from db.history import History
from db.lease import RunWriter, notice_crashes
from db.retry import Waiting
from db.schema import DatasetRow, EpochRow, RunRow, VerdictRow
from db.types import unpack_weights
from db.version import require_head

Result = TypeVar("Result")
HEARTBEAT_TIMEOUT = 60.0
"""seconds of silence after which a running run counts as crashed"""
DATABASE_TIMEOUT = 600.0
"""seconds to wait for a database that went away"""


class Store:
    """An open store. Use it as a context manager, or `close` it.

    Raises StoreError when the URL, the directory, the file or the schema's version is wrong. An empty or
    missing database is refused unless `create`, which makes its tables.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = False,
        heartbeat_timeout: float = HEARTBEAT_TIMEOUT,
        database_timeout: float = DATABASE_TIMEOUT,
        stop: threading.Event | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.url = parse_url(url)
        self.heartbeat_timeout = heartbeat_timeout
        check_directory(self.path)
        if not create and self.path and not self.path.exists():
            raise NotFoundError(f"there is no store at {self.path} yet; `job train` makes one")
        self.engine = create_store_engine(self.url)
        self._writing = self.engine.execution_options(write=True)
        self._waiting = Waiting(self.url, database_timeout, stop, say)
        try:
            self._open(create)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Any:
        """The SQLite file, None on PostgreSQL."""
        return sqlite_path(self.url)

    def _open(self, create: bool) -> None:
        if self.read(lambda session: require_head(session.connection())):
            return
        if not create:
            raise NotFoundError("the database is empty; `job train` or `job db upgrade` makes its tables")
        from db.migrate import upgrade

        self._waiting(lambda attempt: upgrade(self.engine))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back. On SQLite the last one to close folds the write-ahead log in."""
        self.engine.dispose()

    def read(self, work: Callable[[Session], Result]) -> Result:
        """The result of `work` in one read transaction, repeated over passing faults."""

        def attempt(_: int) -> Result:
            with Session(self.engine, expire_on_commit=False) as session:
                return work(session)

        return self._waiting(attempt)

    def write(self, work: Callable[[Session, int], Result]) -> Result:
        """The result of `work(session, attempt)`, committed as one transaction, repeated likewise."""

        def attempt(number: int) -> Result:
            with Session(self._writing, expire_on_commit=False) as session, session.begin():
                return work(session, number)

        return self._waiting(attempt)

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
    ) -> RunWriter:
        """A new running run, and the only writer of its history. `dataset` is stored once."""
        token = RunWriter.new_token()

        def work(session: Session, attempt: int) -> int:
            if attempt > 1:  # the first attempt may have been committed before its connection broke
                mine = session.scalar(select(RunRow.id).where(RunRow.owner == token))
                if mine is not None:
                    return mine
            run = RunRow(
                dataset_id=stored_dataset(session, dataset),
                epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                trigger=trigger,
                status="running",
                environment=environment,
                owner=token,
            )
            session.add(run)
            session.flush()
            return run.id

        return RunWriter(self, self.write(work), token)

    def notice_crashes(self) -> None:
        """Mark running runs whose heartbeat went silent as crashed, where the store can be written."""
        try:
            self.write(lambda session, _: notice_crashes(session, self.heartbeat_timeout))
        except (StoreError, DBAPIError):
            return  # a reader of a read-only store sees the rows as they are

    def runs(self, query: Select[Any] | None = None) -> Sequence[RunRow]:
        """The runs, newest first, each with its dataset; or those of another `query`."""
        wanted = select(RunRow).order_by(RunRow.id.desc()) if query is None else query
        return self.read(lambda session: session.scalars(wanted).all())

    def run(self, reference: int | str = "latest") -> RunRow:
        """One run, with its dataset and features, by its id or as `latest`. Raises NotFoundError."""
        query = select(RunRow).options(selectinload(RunRow.dataset, DatasetRow.features))
        if reference == "latest":
            query = query.order_by(RunRow.id.desc()).limit(1)
        else:
            try:
                query = query.where(RunRow.id == int(reference))
            except ValueError:
                raise NotFoundError(f"{reference!r} is no run: give its number, or `latest`") from None
        found = self.runs(query)
        if not found:
            everything = "the store has no runs yet; `job train` makes one"
            missing = f"there is no run {reference}; `job runs` lists what there is"
            raise NotFoundError(everything if reference == "latest" else missing)
        return found[0]

    # -- epochs ----------------------------------------------------------------------------------

    def progress(self, run_id: int) -> dict[str, int]:
        """How many epochs each model of a run has stored: one more than its last epoch."""
        query = (
            select(EpochRow.model, func.max(EpochRow.epoch) + 1)
            .where(EpochRow.run_id == run_id)
            .group_by(EpochRow.model)
            .order_by(EpochRow.model)
        )
        return self.read(lambda session: {row[0]: row[1] for row in session.execute(query)})

    def history(
        self, run_id: int, model: str, first_epoch: int = 0, last_epoch: int | None = None, step: int = 1
    ) -> History:
        """The stored epochs of one model, in order: from `first_epoch` to `last_epoch`, every `step`-th.

        Empty where nothing is stored.
        """
        epochs = EpochRow.__table__
        query = (
            select(*(epochs.c[name] for name in HISTORY_COLUMNS))
            .where(epochs.c.run_id == run_id, epochs.c.model == model, epochs.c.epoch >= first_epoch)
            .order_by(epochs.c.epoch)
        )
        if last_epoch is not None:
            query = query.where(epochs.c.epoch <= last_epoch)
        if step > 1:
            query = query.where(epochs.c.epoch % step == 0)
        return as_history(self.read(lambda session: session.execute(query).all()))

    # -- verdicts --------------------------------------------------------------------------------

    def add_verdict(self, verdict: VerdictRow) -> VerdictRow:
        """Store a verdict; gives it back with its id."""

        def work(session: Session, _: int) -> VerdictRow:
            session.add(verdict)
            return verdict

        return self.write(work)

    def verdicts(self, run_id: int) -> Sequence[VerdictRow]:
        """The verdicts of a run, oldest first."""
        query = select(VerdictRow).where(VerdictRow.run_id == run_id).order_by(VerdictRow.id)
        return self.read(lambda session: session.scalars(query).all())


HISTORY_COLUMNS = ("epoch", "train_loss", "test_loss", "weights", "bias", "trained_at")


def as_history(rows: Sequence[Any]) -> History:
    """A history from rows of `HISTORY_COLUMNS`."""
    if not rows:
        return History.empty(0, 0)
    epoch, train_loss, test_loss, weights, bias, trained_at = zip(*rows, strict=True)
    return History(
        epoch=np.array(epoch, np.int64),
        train_loss=np.array(train_loss, np.float32),
        test_loss=np.array(test_loss, np.float32),
        weights=unpack_weights(weights) if isinstance(weights[0], str) else np.array(weights, np.float32),
        bias=np.array(bias, np.float32),
        trained_at=np.array(trained_at, np.float64),
    )


def stored_dataset(session: Session, dataset: DatasetRow) -> int:
    """The id under which a dataset is stored, storing it where it is new."""
    query = select(DatasetRow.id).where(
        DatasetRow.name == dataset.name,
        DatasetRow.sha256 == dataset.sha256,
        DatasetRow.target == dataset.target,
    )
    known = session.scalar(query)
    if known is not None:
        return known
    try:
        with session.begin_nested():
            row = session.merge(dataset)
            session.flush()
            return row.id
    except IntegrityError:  # another trainer was first
        return session.scalars(query).one()


def check_directory(path: Any) -> None:
    """Raises StoreError where a SQLite file cannot be: no directory, or a directory in its place."""
    if path is None:
        return
    if path.is_dir():
        raise StoreError(f"{path} is a directory, not a database file")
    if not path.parent.is_dir():
        raise StoreError(f"the directory {path.parent} does not exist; make it, or choose another database")
