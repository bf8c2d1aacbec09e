"""Baselines: the run that the scheduled runs of a specification are judged against.

Rows are only added, and the newest one of a specification counts. The run of a row is kept whole, so that
later runs can be compared with it.
"""

from __future__ import annotations

from itertools import takewhile

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.epochs import require_whole
from db.errors import StoreError
from db.schema import BaselineRow, RunRow
from db.specification import Specification
from db.store import Store, add


def baseline(store: Store, run: RunRow) -> BaselineRow | None:
    """The baseline of a run's specification; None if none is set."""
    newest = store.first(rows(run))
    return newest if newest is not None and newest.kind == "set" else None


def former_baseline(store: Store, run: RunRow) -> RunRow | None:
    """The last other run that was set as the baseline of a run's specification, if also cleared since."""
    found = store.first(rows(run).where(BaselineRow.kind == "set", BaselineRow.run_id != run.id))
    return store.run(found.run_id) if found else None


def rows(run: RunRow) -> Select[BaselineRow]:
    """The rows about a run's specification, newest first."""
    same = Specification.of(run).runs().with_only_columns(RunRow.id).order_by(None)
    return select(BaselineRow).where(BaselineRow.run_id.in_(same)).order_by(BaselineRow.id.desc())


def baselines(store: Store) -> list[BaselineRow]:
    """The baseline of each specification that has one, in the order in which they were set."""
    found = store.all(select(BaselineRow).where(BaselineRow.kind == "set").order_by(BaselineRow.id))
    return [row for row in found if (newest := baseline(store, row.run)) and newest.id == row.id]


def add_baseline(store: Store, row: BaselineRow) -> BaselineRow:
    """Store a row; return it with its id. Raises StoreError if its run can be no baseline."""

    def work(session: Session, _: int) -> BaselineRow:
        # Locked, so that `job prune` begins before this or sees the row.
        require_usable(session.get_one(RunRow, row.run_id, with_for_update=True))
        return add(session, row)

    return store.write(work)


def require_usable(run: RunRow) -> None:
    """Raise StoreError unless a run is completed and whole and each of its models has a digest."""
    if run.status != "completed":
        raise StoreError(f"run {run.id} is {run.status}; only a completed run can be a baseline")
    require_whole([run], "a baseline")
    for model in run.models:
        if model.digest is None:
            raise StoreError(
                f"run {run.id} has no digest of {model.name}, so it can be no baseline; "
                "`job db upgrade` computes the digests of earlier versions"
            )


def differs_since(store: Store, base: RunRow, run: RunRow) -> RunRow:
    """The first of the consecutive scheduled runs up to `run` that do not have the bits of `base`.

    Only completed ones of the specification and later than `base` count; `run` is known to differ.
    """
    nights = Specification.of(base).nights().where(RunRow.id > base.id, RunRow.id < run.id)
    return [run, *takewhile(lambda night: night.digests != base.digests, store.all(nights))][-1]
