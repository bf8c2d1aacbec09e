"""The text of notifications about scheduled runs."""

from __future__ import annotations

from collections.abc import Sequence

from db.scheduled_runs import ScheduledRun
from db.schema import VerdictRow
from job.verdicts.fail_on import FailOn


def bad_news(scheduled_run: ScheduledRun, verdicts: Sequence[VerdictRow], fail_on: FailOn) -> str | None:
    """The text if a run failed or was missed, or if a verdict counts for `fail_on`; else None."""
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
    failed = [
        f"{verdict.kind}: {verdict.detail}"
        for verdict in fail_on.failed(verdicts)
        # A drift back to bits that were known before is no news: the drift away from them was.
        if not verdict.detail.startswith("back to the bits of run ")
    ]
    return f"{due}, run {run.id}: {'; '.join(failed)}" if failed else None
