"""Scheduled runs in the store: which are due, their outcomes, and the runs before them.

A schedule's next run is stored before it is due. So a missed one is on record even if the scheduler that
should have started it is gone, and only one of two schedulers starts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, joinedload

from db.errors import NotFoundError
from db.lease import settle_due
from db.schema import RunRow, ScheduledRunRow, VerdictRow
from db.specification import Specification
from db.store import Store, add
from db.types import seconds_since

earlier_row, baseline_verdict = aliased(RunRow), aliased(VerdictRow)


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    """A scheduled run, the run that it started, and that run's drift and baseline verdicts, if any."""

    row: ScheduledRunRow
    run: RunRow | None
    drift: VerdictRow | None
    baseline: VerdictRow | None = None
    failed: bool = False
    """whether a verdict on the run failed that is neither drift nor baseline"""

    @property
    def outcome(self) -> str:
        """`due`, `skipped`, `missed`, `failed`; or the run's status; or `pruned` if the run is gone."""
        if self.row.status != "started":
            return self.row.status
        return "pruned" if self.run is None else self.run.status

    @property
    def passed(self) -> bool:
        """Whether its run is completed and has, by its verdicts, the bits that it should have."""
        bits = self.baseline or self.drift
        return self.outcome == "completed" and not self.failed and (bits is None or bits.passed)

    @property
    def result(self) -> str:
        """Outcome and verdicts in a word: `passed`, `drifted`, `failed`, `missed`, `skipped` or `due`."""
        if self.outcome == "completed":
            return "passed" if self.passed else "failed" if self.failed else "drifted"
        others = {"running": "due", "interrupted": "skipped", "pruned": "skipped"}
        others |= {"crashed": "failed", "diverged": "failed"}
        return others.get(self.outcome, self.outcome)

    @property
    def why(self) -> str | None:
        """Why it was not started, or why its run ended early; None if nothing is known."""
        return self.row.detail or (self.run.stop_reason if self.run else None)

    @property
    def seconds(self) -> float | None:
        """How long the run took from its start to its end; None if it has not ended or there is none."""
        if self.run is None or self.run.finished_at is None:
            return None
        return (self.run.finished_at - self.run.created_at).total_seconds()


def planned(store: Store, schedule: str) -> ScheduledRunRow | None:
    """The earliest scheduled run of a schedule that is still due; None if there is none."""
    return store.first(still_due(ScheduledRunRow.schedule == schedule))


def due_until(store: Store, schedule: str, moment: datetime) -> Sequence[ScheduledRunRow]:
    """The scheduled runs of a schedule that are due by `moment`, earliest first."""
    return store.all(still_due(ScheduledRunRow.schedule == schedule, ScheduledRunRow.due_at <= moment))


def still_due(*which: ColumnElement[bool]) -> Select[ScheduledRunRow]:
    """The scheduled runs of `which` that have neither started nor been given up, earliest first."""
    due = select(ScheduledRunRow).where(ScheduledRunRow.status == "due", *which)
    return due.order_by(ScheduledRunRow.due_at)


def add_due(store: Store, schedule: str, due_at: datetime) -> ScheduledRunRow:
    """The scheduled run of a schedule at that moment, stored as due if it is new."""
    query = select(ScheduledRunRow).where(
        ScheduledRunRow.schedule == schedule, ScheduledRunRow.due_at == due_at
    )

    def work(session: Session, _: int) -> ScheduledRunRow:
        found = session.scalar(query)
        if found is not None:
            return found
        row = ScheduledRunRow(schedule=schedule, due_at=due_at, status="due")
        try:
            with session.begin_nested():
                session.add(row)
                session.flush()
                return row
        except IntegrityError:  # another scheduler was first
            return session.scalars(query).one()

    return store.write(work)


def add_unscheduled(store: Store, scheduled_run: ScheduledRunRow) -> ScheduledRunRow:
    """Store a scheduled run whose `schedule` is null; return it with its id."""
    return store.write(lambda session, _: add(session, scheduled_run))


def settle(store: Store, scheduled_run_id: int, status: str, detail: str | None = None) -> bool:
    """Set the outcome of a due scheduled run; False if another process has set it before."""

    def work(session: Session, attempt: int) -> bool:
        if settle_due(session, scheduled_run_id, status=status, detail=detail):
            return True
        # The first attempt may have been committed before its connection broke.
        return attempt > 1 and session.get_one(ScheduledRunRow, scheduled_run_id).status == status

    return store.write(work)


def replace_schedules(store: Store, schedule: str) -> list[ScheduledRunRow]:
    """Leave one schedule: delete the others' future runs, mark their past ones as missed and return these."""

    def work(session: Session, _: int) -> list[ScheduledRunRow]:
        passed = seconds_since(ScheduledRunRow.due_at) >= 0
        others = still_due(ScheduledRunRow.schedule != schedule)
        missed = list(session.scalars(others.where(passed)))
        for row in missed:
            row.status, row.detail = "missed", f"its schedule was replaced by {schedule}"
        for row in session.scalars(others.where(~passed)):
            session.delete(row)
        return missed

    return store.write(work)


def give_up_unscheduled(store: Store, seconds: float) -> None:
    """Mark due rows with a null `schedule` as failed after `seconds`: their processes died before a run."""
    died = (
        update(ScheduledRunRow)
        .where(ScheduledRunRow.schedule.is_(None), ScheduledRunRow.status == "due")
        .where(seconds_since(ScheduledRunRow.due_at) > seconds)
        .values(status="failed", detail="its process ended before a run began")
        .execution_options(synchronize_session=False)
    )
    store.write(lambda session, _: session.execute(died))


def newest(store: Store, limit: int | None = None) -> Sequence[ScheduledRun]:
    """The scheduled runs, latest due first, each with its run and that run's verdicts."""
    query = with_runs().order_by(ScheduledRunRow.due_at.desc(), ScheduledRunRow.id.desc()).limit(limit)
    rows = store.read(lambda session: session.execute(query).all())
    return [ScheduledRun(*row) for row in rows]


def find(store: Store, scheduled_run_id: int) -> ScheduledRun:
    """One scheduled run by its id. Raises NotFoundError."""
    query = with_runs().where(ScheduledRunRow.id == scheduled_run_id)
    rows = store.read(lambda session: session.execute(query).all())
    if not rows:
        raise NotFoundError(f"there is no scheduled run {scheduled_run_id}; `job nights` lists them")
    return ScheduledRun(*rows[0])


def with_runs() -> Select[ScheduledRunRow, RunRow, VerdictRow, VerdictRow, bool]:
    """The fields of `ScheduledRun`.

    The drift verdict is the first that asked for the same bits as an earlier nightly run. Later ones of `job
    compare`, with a tolerance or against other runs, do not count.
    """
    earlier = exists().where(
        earlier_row.id == VerdictRow.against_run_id,
        earlier_row.trigger == "nightly",
        earlier_row.id < VerdictRow.run_id,
    )
    same_bits = (VerdictRow.tolerance == 0, or_(VerdictRow.against_run_id.is_(None), earlier))
    drifts = on_its_run(select(func.min(VerdictRow.id)), VerdictRow.kind == "drift", *same_bits)
    of_baseline = on_its_run(select(func.max(VerdictRow.id)), VerdictRow.kind == "baseline")
    others = VerdictRow.kind.not_in(("drift", "baseline"))
    failed = on_its_run(select(VerdictRow.id), others, ~VerdictRow.passed)
    return (
        select(ScheduledRunRow, RunRow, VerdictRow, baseline_verdict, failed.exists())
        .outerjoin(RunRow, RunRow.id == ScheduledRunRow.run_id)
        .outerjoin(VerdictRow, VerdictRow.id == drifts.scalar_subquery())
        .outerjoin(baseline_verdict, baseline_verdict.id == of_baseline.scalar_subquery())
        # The run's own eager join is an inner one, which would drop rows without a run.
        .options(joinedload(RunRow.dataset, innerjoin=False))
    )


def on_its_run(verdicts: Select[int], *which: ColumnElement[bool]) -> Select[int]:
    """The verdicts of `which` on the run that a scheduled run started."""
    return verdicts.where(VerdictRow.run_id == ScheduledRunRow.run_id, *which).correlate(ScheduledRunRow)


def seconds_since_completed(store: Store, runs: Select[RunRow]) -> float | None:
    """Seconds by the database's clock since the last of these runs was completed; None if there is none."""
    age: ColumnElement[float | None] = func.min(seconds_since(RunRow.finished_at))
    completed = runs.where(RunRow.trigger == "nightly", RunRow.status == "completed")
    return store.first(completed.with_only_columns(age).order_by(None))


def overdue(store: Store, seconds: float) -> Sequence[ScheduledRunRow]:
    """Runs of a schedule that are due for more than `seconds` by the database's clock, earliest first.

    A row whose `schedule` is null is due when its process begins, so it is never overdue.
    """
    late = seconds_since(ScheduledRunRow.due_at) > seconds
    return store.all(still_due(ScheduledRunRow.schedule.is_not(None), late))


def night_before(store: Store, run: RunRow) -> RunRow | None:
    """The last whole, completed nightly run of the same specification before `run`; None for the first."""
    found = store.first(Specification.of(run).nights().where(RunRow.id < run.id, RunRow.whole))
    return store.run(found.id) if found else None


def before_drift(store: Store, run: RunRow) -> RunRow | None:
    """The run that the last nightly run before `run` that drifted was compared with; None if none drifted."""
    nightly = Specification.of(run).runs().where(RunRow.id < run.id, RunRow.trigger == "nightly")
    query = (
        select(RunRow)
        .join(VerdictRow, VerdictRow.against_run_id == RunRow.id)
        .where(
            VerdictRow.run_id.in_(nightly.with_only_columns(RunRow.id).order_by(None)),
            VerdictRow.kind == "drift",
            VerdictRow.tolerance == 0,
            ~VerdictRow.passed,
            RunRow.id < VerdictRow.run_id,
            RunRow.trigger == "nightly",
            RunRow.whole,
        )
        .order_by(VerdictRow.id.desc())
    )
    found = store.first(query)
    return store.run(found.id) if found else None
