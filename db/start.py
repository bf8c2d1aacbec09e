"""Starts a run: its row, its dataset, its models and its scheduled run, in one transaction."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.errors import LeaseHeldError
from db.lease import require_no_live_nightly, settle_due
from db.schema import DatasetRow, RunRow
from db.specification import Specification


def insert_run(
    session: Session,
    attempt: int,
    run: RunRow,
    dataset: DatasetRow,
    scheduled_run: int | None,
    heartbeat_timeout: float,
) -> int:
    """Store a new run, made for this attempt; return its id.

    `attempt` counts from 1: an earlier one may have been committed before its connection broke. Raises
    LeaseHeldError as `Store.start_run` does, and StillHeldError if a nightly run is live.
    """
    if attempt > 1:
        mine = session.scalar(select(RunRow.id).where(RunRow.owner == run.owner))
        if mine is not None:
            return mine
    nightly = run.trigger == "nightly"
    if nightly:
        require_no_live_nightly(session, heartbeat_timeout)
    dataset_id = stored_dataset(session, dataset)
    if run.sweep is not None:
        # So that no combination is started twice. SQLite has one writer at a time anyway.
        session.execute(select(DatasetRow.id).where(DatasetRow.id == dataset_id).with_for_update())
        twins = Specification.of(run, dataset).runs().where(RunRow.sweep == run.sweep)
        if twin := session.scalars(twins.limit(1)).first():
            raise LeaseHeldError(f"sweep {run.sweep} has run {twin.id} of these settings already")
    run.dataset_id = dataset_id
    session.add(run)
    try:
        session.flush()
    except IntegrityError as error:
        if not nightly:
            raise
        raise LeaseHeldError("another nightly run was just started") from error
    if scheduled_run is not None and not settle_due(session, scheduled_run, status="started", run_id=run.id):
        raise LeaseHeldError(f"scheduled run {scheduled_run} is no longer due: another process started it")
    return run.id


def stored_dataset(session: Session, dataset: DatasetRow) -> int:
    """The id of a dataset, which is stored if it is new."""
    query = select(DatasetRow.id).where(
        DatasetRow.name == dataset.name,
        DatasetRow.sha256 == dataset.sha256,
        DatasetRow.target == dataset.target,
        DatasetRow.reading == dataset.reading,
    )
    known = session.scalar(query)
    if known is not None:
        unset = update(DatasetRow).where(DatasetRow.id == known, DatasetRow.sum_error.is_(None))
        session.execute(unset.values(sum_error=dataset.sum_error))  # stored by an earlier version
        return known
    try:
        with session.begin_nested():
            row = session.merge(dataset)
            session.flush()
            return row.id
    except IntegrityError:  # another trainer was first
        return session.scalars(query).one()
