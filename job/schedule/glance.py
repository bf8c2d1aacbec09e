"""The scheduled runs at a glance: since when the bits are the same, how many passed, what is open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from db import scheduled_runs
from db.baselines import baselines, differs_since
from db.scheduled_runs import ScheduledRun
from db.schema import RunRow
from db.specification import Specification
from db.store import Store

CHECK_GRACE = 900.0
"""seconds after which a scheduled run that was due and has not begun counts as missed"""


def glance(store: Store, nights: Sequence[ScheduledRun]) -> str:
    """One line about all scheduled runs of the store; `nights` are these, the latest first."""
    run = last_change(nights)
    since = f"unchanged since {run.created_at:%Y-%m-%d} (run {run.id})" if run else "no run is completed"
    over = [each for each in nights if each.outcome not in ("due", "running", "skipped", "pruned")]
    passed = f"{sum(each.passed for each in over)} of {len(over)} passed"
    return f"{since}; {passed}; open: {', '.join(open_points(store, nights)) or 'nothing'}"


def last_change(nights: Sequence[ScheduledRun]) -> RunRow | None:
    """The last completed run that does not have the bits of the one before it, of its specification.

    If there is none, the first completed run; None if there is none of these.
    """
    changed: RunRow | None = None
    for _, run, before in completed(nights):
        if changed is None or (before is not None and before.digests != run.digests):
            changed = run
    return changed


def completed(nights: Sequence[ScheduledRun]) -> Iterator[tuple[ScheduledRun, RunRow, RunRow | None]]:
    """The nights whose run is completed, the earliest first, with that run and the one before it.

    The latter is the last completed one of the same specification; None for the first.
    """
    last: dict[Specification, RunRow] = {}
    for night in reversed(nights):
        run = night.run
        if run is not None and run.status == "completed":
            specification = Specification.of(run)
            yield night, run, last.get(specification)
            last[specification] = run


def open_points(store: Store, nights: Sequence[ScheduledRun]) -> Iterator[str]:
    """What somebody should look at: a drift that is not accepted, a run that was missed or that failed."""
    for row in baselines(store):
        newest = store.first(Specification.of(row.run).nights().where(RunRow.id > row.run_id))
        if newest is not None and newest.digests != row.run.digests:
            first = differs_since(store, row.run, newest)
            since = f"{first.created_at:%Y-%m-%d} (run {first.id})"
            yield f"differs from the baseline, run {row.run_id}, since {since}"
    if missed := last_missed(store, nights):
        yield missed
    last = next((each for each in nights if each.outcome not in ("due", "running", "skipped")), None)
    if last is not None and (last.failed or last.outcome in ("failed", "crashed", "diverged", "interrupted")):
        how = "a verdict failed" if last.failed else last.outcome
        yield f"the run of {last.row.due_at:%Y-%m-%d %H:%M}Z: {how}"


def last_missed(store: Store, nights: Sequence[ScheduledRun]) -> str | None:
    """The scheduled run that is overdue, or the last one if it was missed, in words; None if neither."""
    if late := scheduled_runs.overdue(store, CHECK_GRACE):
        return f"a scheduled run was due at {late[0].due_at:%Y-%m-%d %H:%M}Z and has not begun"
    last = next((each.row for each in nights if each.row.status != "due"), None)
    if last is not None and last.status == "missed":
        return f"the scheduled run of {last.due_at:%Y-%m-%d %H:%M}Z was missed: {last.detail}"
    return None
