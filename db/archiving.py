"""Archives runs, and puts their epochs back; nothing is lost at any moment.

A run is read from its archives as soon as it has rows in `archived_models`, whatever rows `epochs` has of it.
So these are deleted, in small transactions, only after the archives were read back and have the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, delete, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.archive import pack
from db.digest import digest_of
from db.engine import parse_url
from db.epochs import ARCHIVED, from_archive, insert_epochs, kept_epochs, require_whole, stored_rows
from db.errors import StoreError, StoreFailedError, UnsuitableRunError
from db.history import History
from db.integrity import Fault, as_float32, first_fault
from db.lease import lock_run
from db.retention import delete_epochs, lock_archives, remove_unused_archives
from db.schema import ArchivedModelRow, Base, EpochRow, RunRow
from db.store import Store
from db.types import database_now

# If another run has the same digest, it has the same archive.
ADD_ARCHIVE = text(
    "INSERT INTO archives (digest, epochs, columns, packed) VALUES (:digest, :epochs, :columns, :packed)"
    " ON CONFLICT DO NOTHING"
)


def archive(store: Store, run_id: int) -> int | Fault:
    """Archive a completed run; return the number of its epochs removed, or why it stays as it is.

    After a kill, calling it again finishes the work.
    """
    run, histories = store.run(run_id), dict[str, History]()
    fault = first_fault(store, run, histories)
    if fault is None:
        packed = {model: packed_form(history) for model, history in histories.items()}
        store.write(lambda session, _: add_archives(session, run, packed))
        run = store.run(run_id)
        fault = first_fault(store, run)  # of the archive, and of the rows that are still there
    if fault is not None:
        if run.archived:
            store.write(lambda session, _: take_back(session, run))
        return fault
    kept = kept_epochs(histories.values())
    archived = select(ArchivedModelRow.run_id).where(ArchivedModelRow.run_id == run_id).exists()
    which = [EpochRow.epoch.not_in(kept), archived]
    lengths = {model: len(history) for model, history in histories.items()}
    removed = delete_epochs(store, run_id, lengths, which)
    done = (
        update(ArchivedModelRow).where(ArchivedModelRow.run_id == run_id).values(archived_at=database_now())
    )
    store.write(lambda session, _: session.execute(done.where(ArchivedModelRow.archived_at.is_(None))))
    return removed


def packed_form(history: History) -> tuple[dict[str, object], bytes]:
    """The columns of an archive but its digest, and the packed times."""
    values = history.values
    columns = {"epochs": len(values), "columns": values.shape[1], "packed": pack(values)}
    return columns, pack(history.trained_at.reshape(-1, 1))


def add_archives(session: Session, run: RunRow, packed: dict[str, tuple[dict[str, object], bytes]]) -> None:
    """Let the run be read from archives. Raises UnsuitableRunError if it has changed since it was read."""
    lock_run(session, run.id)
    now = session.get_one(RunRow, run.id)
    require_whole([now], "archived")
    if now.status != "completed" or now.digests != run.digests or not all(run.digests.values()):
        raise UnsuitableRunError(
            f"run {run.id} is not completed, or has changed while it was read; try again"
        )
    if now.archived:
        return  # by an earlier attempt, or by another process
    lock_archives(session)
    for model, (columns, times) in packed.items():
        digest = run.digests[model]
        session.execute(ADD_ARCHIVE, {"digest": digest, **columns})
        session.add(ArchivedModelRow(run_id=run.id, model=model, digest=digest, trained_at=times))
    session.flush()


def take_back(session: Session, run: RunRow) -> None:
    """Let a run be read from its rows again, if these have its digests; else the archives stay."""
    lock_run(session, run.id)
    for model in run.models:
        rows = list(session.execute(stored_rows(run.id, model.name)).all())
        history = as_float32(rows) if rows else "no rows"
        if isinstance(history, str) or digest_of(run.parameter_names, history) != model.digest:
            return
    forget(session, run.id)


def forget(session: Session, run_id: int) -> None:
    """Let a run be read from its rows."""
    session.execute(delete(ArchivedModelRow).where(ArchivedModelRow.run_id == run_id))
    remove_unused_archives(session)


def unarchive(store: Store, run_id: int) -> None:
    """Put the epochs of an archived run back, in one transaction.

    Raises StoreError if the run is not archived, and StoreFailedError if an archive is damaged; nothing is
    changed then.
    """

    def work(session: Session, attempt: int) -> None:
        lock_run(session, run_id)
        run = session.get_one(RunRow, run_id)
        require_whole([run], "unarchived")
        if not run.archived:
            if attempt > 1:
                return  # committed before the connection broke
            raise StoreError(f"run {run_id} is not archived; all of its epochs are rows")
        session.execute(delete(EpochRow).where(EpochRow.run_id == run_id))
        for model, history in checked(session, run):
            insert_epochs(session.connection(), run_id, model, history)
        forget(session, run_id)

    store.write(work)


def checked(session: Session, run: RunRow) -> Iterator[tuple[str, History]]:
    """The history of each model of an archived run. Raises StoreFailedError if it has not its digest."""
    for model in run.models:
        row = session.execute(ARCHIVED, {"run_id": run.id, "model": model.name}).first()
        damaged = f"run {run.id}, {model.name}: the archive is damaged"
        if row is None:
            raise StoreFailedError(f"{damaged}: other models of the run are archived, and this one is not")
        try:
            history = from_archive(row)
        except ValueError as error:
            raise StoreFailedError(f"{damaged}: {error}") from error
        if digest_of(run.parameter_names, history) != model.digest:
            raise StoreFailedError(f"{damaged}: it has another digest")
        yield model.name, history


@contextmanager
def as_rows(store: Store, run: RunRow) -> Iterator[URL]:
    """The URL of a database that has all epochs of a run as rows, for a query about that run.

    That is the store, or, for an archived run, a temporary SQLite file with the table `epochs` alone. Raises
    StoreFailedError if that cannot be written.
    """
    if not store.run(run.id).archived:  # it may have been archived since `run` was read
        yield store.url
        return
    with TemporaryDirectory(prefix="epoch-ledger-") as directory:
        url = parse_url(f"sqlite:///{directory}/run.db")
        engine = create_engine(url)  # not that of a store, which would refuse epochs without their run
        try:
            with engine.begin() as connection:
                Base.metadata.tables["epochs"].create(connection)
                for model in run.models:
                    insert_epochs(connection, run.id, model.name, store.history(run.id, model.name))
        except DBAPIError as error:
            raise StoreFailedError(f"the run cannot be copied to {directory}: {error.orig}") from error
        finally:
            engine.dispose()
        yield url
