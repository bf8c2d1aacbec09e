"""The text of notifications about scheduled runs."""

from __future__ import annotations

from collections.abc import Sequence

from db.scheduled_runs import ScheduledRun
from db.schema import VerdictRow


def bad_news(scheduled_run: ScheduledRun, verdicts: Sequence[VerdictRow]) -> str | None:
    """The text if a run failed, drifted or was missed; None if it passed, or was skipped or stopped."""
    row, run = scheduled_run.row, scheduled_run.run
    due = f"the scheduled run of {row.due_at:%Y-%m-%d %H:%M}Z"
    if row.status in ("missed", "failed"):
        return (
            f"{due} {'was missed' if row.status == 'missed' else 'failed'}: {row.detail or 'no reason known'}"
        )
    if run is None:
        return None
    if run.status in ("failed", "diverged", "crashed"):
        return f"{due}, run {run.id}, {run.status}: {run.stop_reason or 'no reason known'}"
    # A drift to the baseline is no news, nor one back to bits that were known before: the drift away was.
    accepted = any(verdict.kind == "baseline" and verdict.passed for verdict in verdicts)
    failed = [
        f"{verdict.kind}: {verdict.detail}"
        for verdict in verdicts
        if not verdict.passed
        and not (verdict.kind == "drift" and accepted)
        and not verdict.detail.startswith("back to the bits of run ")
    ]
    return f"{due}, run {run.id}: {'; '.join(failed)}" if failed else None
