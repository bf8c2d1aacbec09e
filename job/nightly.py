"""What a night comes to: its verdict on drift, and what there is to tell of it."""

from __future__ import annotations

from collections.abc import Sequence

from db.nights import Night, baseline, before_drift
from db.schema import RunRow, VerdictRow
from db.store import Store
from job.compare import judge


def judge_drift(store: Store, run: RunRow) -> VerdictRow | None:
    """Whether a completed night has the bits of the last one of its specification; stores the verdict.

    A night that drifted back says to which run. None for the first night of a specification.
    """
    last = baseline(store, run)
    if last is None:
        return None
    verdict, _ = judge(store, run, last)
    if not verdict.passed:
        earlier = before_drift(store, run)
        if earlier is not None and judge(store, run, earlier)[0].passed:
            verdict.detail = f"back to the bits of run {earlier.id}; {verdict.detail}"
    return store.add_verdict(verdict)


def bad_news(night: Night, verdicts: Sequence[VerdictRow]) -> str | None:
    """What to tell people of a night that failed, drifted or was missed; None of any other.

    A night that was skipped, or stopped by a signal, is somebody's own doing, and no news.
    """
    row, run = night.row, night.run
    due = f"the night of {row.due_at:%Y-%m-%d %H:%M}Z"
    if row.status in ("missed", "failed"):
        return (
            f"{due} {'was missed' if row.status == 'missed' else 'failed'}: {row.detail or 'no reason known'}"
        )
    if run is None:
        return None
    if run.status in ("failed", "diverged", "crashed"):
        return f"{due}, run {run.id}, {run.status}: {run.stop_reason or 'no reason known'}"
    failed = [f"{verdict.kind}: {verdict.detail}" for verdict in verdicts if not verdict.passed]
    return f"{due}, run {run.id}: {'; '.join(failed)}" if failed else None
