"""Retention: which runs are deleted, archived or downsampled, and the small transactions that do it.

`db.archiving` archives.

A run is marked before its first epoch is deleted, so it is never taken for whole. The mark names the pruning
that was begun; the next one finishes it, whatever its policy, since epochs are already gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import numpy as np
from sqlalchemy import ColumnElement, Delete, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from db.epochs import kept_epochs, stored_rows
from db.errors import StoreError, naming
from db.history import History
from db.lease import lock_run, rowcount, update_run
from db.schema import UNFINISHED, ArchivedModelRow, ArchiveRow, BaselineRow, EpochRow, RunRow, VerdictRow
from db.specification import Specification
from db.store import Store
from db.types import seconds_since

STEP = 5_000
"""epochs of a model per transaction: a few milliseconds, which do not disturb a live trainer"""
FAILED = exists().where(
    ~VerdictRow.passed,
    VerdictRow.kind != "baseline",
    or_(VerdictRow.run_id == RunRow.id, VerdictRow.against_run_id == RunRow.id),
)
"""whether a verdict on the run failed, or one on another run that was measured against it. A verdict on
the baseline does not count: it fails every night, and `drift` on the night that changed the bits."""
BASELINE = exists().where(BaselineRow.run_id == RunRow.id)
"""whether the run is or was a baseline"""
HALF_ARCHIVED = exists().where(ArchivedModelRow.run_id == RunRow.id, ArchivedModelRow.archived_at.is_(None))
"""whether epochs that are archived may still be stored as rows too"""


@dataclass(frozen=True, slots=True)
class Policy:
    """What to keep. Raises StoreError if nothing is asked for, or for a value out of range."""

    keep_nights: int | None = None
    """keep only the newest N nightly runs"""
    thin_older_than: timedelta | None = None
    """downsample runs of every trigger that ended longer ago than this"""
    every: int = 100
    """keep every Nth epoch of a downsampled run, besides the first, the best and the last"""
    force: bool = False
    """delete or downsample runs with a failed verdict too"""
    archive_older_than: timedelta | None = None
    """archive completed runs of every trigger that ended longer ago than this"""

    def __post_init__(self) -> None:
        if (self.keep_nights, self.thin_older_than, self.archive_older_than) == (None, None, None):
            raise StoreError(
                "nothing to prune: give --keep-nights, --archive-older-than or --thin-older-than, or several"
            )
        if (
            self.thin_older_than
            and self.archive_older_than
            and self.thin_older_than < self.archive_older_than
        ):
            raise StoreError(
                "--thin-older-than is less than --archive-older-than: runs would lose epochs before"
            )


@dataclass(frozen=True, slots=True)
class Pruning:
    """What the policy does to one run."""

    run: RunRow
    action: Literal["delete", "archive", "thin", "keep"]
    """`keep` if the policy would prune the run, but `why` prevents it"""
    why: str
    every: int | None = None
    """if downsampled: every Nth epoch stays"""


def prunings(store: Store, policy: Policy) -> list[Pruning]:
    """What to do with each run, oldest first; without live runs and those that the policy leaves alone."""
    ages = seconds_since(func.coalesce(RunRow.finished_at, RunRow.heartbeat_at))
    query = (
        select(RunRow, ages, FAILED, BASELINE, HALF_ARCHIVED)
        .where(RunRow.status != "running")
        .order_by(RunRow.id)
    )
    found = store.read(lambda session: session.execute(query).all())
    runs: list[RunRow] = [run for run, *_ in found]
    nights = [run.id for run in runs if run.trigger == "nightly"]
    surplus = set() if policy.keep_nights is None else set(nights[: -policy.keep_nights])
    needed = newest_nights(runs)
    plans = []
    for run, age, failed, baseline, half_archived in found:
        begun, archiving = unfinished(run), to_archive(run, age, policy, half_archived)
        wish = wanted(run, age, policy, surplus)
        if wish and wish.action == "thin" and archiving:
            wish = None  # archiving loses nothing
        stays = failed and not policy.force
        if baseline:
            why = "it is or was a baseline"
        elif run.id in needed:
            why = "the next scheduled run is compared with it"
        else:
            why = "a verdict on it failed; --force prunes it" if stays else ""
        if begun and (begun.action == "delete" or wish is None or stays):
            plans.append(begun)
        elif wish and not why:
            plans.append(wish)
        elif archiving:
            plans.append(archiving)
        elif wish:
            plans.append(Pruning(run, "keep", why))
    return plans


def to_archive(run: RunRow, age: float, policy: Policy, half_archived: bool) -> Pruning | None:
    """The archiving of a run that ended `age` seconds ago; None if it is not due or not possible."""
    if half_archived:
        return Pruning(run, "archive", "an earlier prune began to archive it")
    if (
        policy.archive_older_than is not None
        and age > policy.archive_older_than.total_seconds()
        and (run.status, run.whole, run.archived) == ("completed", True, False)
        and all(run.digests.values())
    ):
        return Pruning(run, "archive", f"ended {age / 86400:.0f} days ago")
    return None


def unfinished(run: RunRow) -> Pruning | None:
    """The pruning of a run that was killed before its end; None if there was none."""
    if run.pruning == "delete":
        return Pruning(run, "delete", "its deletion was begun before")
    if run.pruning == "thin":
        return Pruning(run, "thin", "an earlier prune began to downsample it", run.thinned_every)
    return None


def wanted(run: RunRow, age: float, policy: Policy, surplus: set[int]) -> Pruning | None:
    """What the policy does to a run that ended `age` seconds ago; `surplus`: nightly runs to delete."""
    if run.id in surplus:
        return Pruning(run, "delete", f"not among the newest {policy.keep_nights} nightly runs")
    if (
        policy.thin_older_than is not None
        and age > policy.thin_older_than.total_seconds()
        and run.status not in UNFINISHED  # those can still be resumed
        and not run.archived
        and can_be_thinned(run, policy.every)
    ):
        return Pruning(run, "thin", f"ended {age / 86400:.0f} days ago", policy.every)
    return None


def newest_nights(runs: Iterable[RunRow]) -> set[int]:
    """What the next nightly run of each specification is compared with. `runs` is oldest first."""
    newest = {
        Specification.of(run): run.id
        for run in runs
        if (run.trigger, run.status, run.whole) == ("nightly", "completed", True)
    }
    return set(newest.values())


def can_be_thinned(run: RunRow, every: int) -> bool:
    """Whether keeping every Nth epoch would remove some, and none of those kept is missing already."""
    left = run.thinned_every or 1
    return run.epochs > every > left and every % left == 0


def apply_pruning(store: Store, pruning: Pruning, policy: Policy) -> int | None:
    """Delete or downsample a run; return the number of epochs removed, or None if the run has changed since.

    After a kill, the next pruning finishes the work.
    """
    run = pruning.run
    step = pruning.every
    # A run that is being deleted keeps its thinned_every.
    mark: dict[str, str | int] = (
        {"pruning": "delete"} if step is None else {"pruning": "thin", "thinned_every": step}
    )
    trained = store.progress(run.id)
    which: list[ColumnElement[bool]] = []
    if step is not None:
        kept = kept_epochs(losses(store, run.id, model) for model in trained)
        which = [EpochRow.epoch % step != 0, EpochRow.epoch.not_in(kept)]
    if not store.write(lambda session, _: begin(session, run, mark, policy.force)):
        return None
    removed = delete_epochs(store, run.id, trained, which)
    done = delete(RunRow) if step is None else update(RunRow).values(pruning=None)
    # Unless another pruning has changed the mark in the meantime.
    ours = [RunRow.id == run.id, *(getattr(RunRow, name) == value for name, value in mark.items())]

    def end(session: Session, _: int) -> None:
        session.execute(done.where(*ours))
        if step is None:
            remove_unused_archives(session)

    store.write(end)
    return removed


def losses(store: Store, run_id: int, model: str) -> History:
    """A model's stored epochs without parameters: a corrupted vector does not keep a run from pruning."""
    columns = EpochRow.__table__.c
    query = stored_rows(run_id, model).with_only_columns(columns.epoch, columns.train_loss, columns.test_loss)
    with naming(f"run {run_id}, {model}"):
        rows = store.read(lambda session: session.execute(query).all())
        values = np.array([tuple(row) for row in rows], np.float64).reshape(-1, 3)
    train_loss, test_loss = values[:, 1:].astype(np.float32).T
    return replace(
        History.empty(len(rows), 0),
        epoch=values[:, 0].astype(np.int64),
        train_loss=train_loss,
        test_loss=test_loss,
    )


def delete_epochs(
    store: Store, run_id: int, epochs: Mapping[str, int], which: Iterable[ColumnElement[bool]]
) -> int:
    """Delete the epochs of a run for which all of `which` is true, in small transactions; return how many.

    `epochs` has the number of epochs by model.
    """
    removed = 0
    for model, end in epochs.items():
        for first in range(0, end, STEP):
            of_model = (EpochRow.run_id == run_id, EpochRow.model == model)
            part = EpochRow.epoch.between(first, first + STEP - 1)
            removed += remove(store, run_id, delete(EpochRow).where(*of_model, part, *which))
    return removed


def remove(store: Store, run_id: int, rows: Delete) -> int:
    """Delete epochs of a run in a transaction of their own; return how many."""

    def work(session: Session, _: int) -> int:
        lock_run(session, run_id)  # another process may be putting its epochs back
        return rowcount(session, rows)

    return store.write(work)


def remove_unused_archives(session: Session) -> None:
    """Delete the archives that no archived model refers to any more."""
    lock_archives(session)
    used = exists().where(ArchivedModelRow.digest == ArchiveRow.digest)
    session.execute(delete(ArchiveRow).where(~used).execution_options(synchronize_session=False))


def lock_archives(session: Session) -> None:
    """Wait for whoever adds or removes archives. SQLite has one writer at a time anyway.

    Otherwise one transaction may delete an archive while another begins to share it. A run is locked before.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('epoch-ledger archives'))"))


def begin(session: Session, run: RunRow, mark: Mapping[str, str | int], force: bool) -> bool:
    """Mark a run as no longer whole, unless it was resumed, pruned, set as a baseline, or failed a verdict.

    Its lease holder loses the lease. What was begun before is finished whatever the verdicts.
    """
    lock_run(session, run.id)  # as `add_baseline` does
    statement = (
        update_run(run.id)
        .where(
            ~BASELINE,
            RunRow.status == run.status,
            RunRow.resumes == run.resumes,
            or_(
                and_(
                    RunRow.pruning.is_not_distinct_from(run.pruning),
                    RunRow.thinned_every.is_not_distinct_from(run.thinned_every),
                ),
                # An earlier attempt may have been committed.
                and_(*(getattr(RunRow, name) == value for name, value in mark.items())),
            ),
        )
        .values(owner=None, **mark)
    )
    if mark["pruning"] == "thin":
        statement = statement.where(~RunRow.archived)
    decided = force or unfinished(run) is not None
    return rowcount(session, statement if decided else statement.where(~FAILED)) == 1
