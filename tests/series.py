"""A series of scheduled runs whose bits a test decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from db import scheduled_runs
from db.history import History
from db.schema import RunRow, ScheduledRunRow, VerdictRow
from db.store import Store
from job.verdicts.baseline import judge_baseline
from job.verdicts.drift import judge_drift
from tests.samples import dataset_row, execute, history

FIRST = datetime(2026, 3, 1, 2, tzinfo=UTC)


def night(store: Store, bits: int | History = 0, status: str = "completed", **settings: Any) -> RunRow:
    """A scheduled run with the history of a seed, or with a given one; one a day from 1 March 2026."""
    number = len(scheduled_runs.newest(store))
    due = FIRST + timedelta(days=number)
    row = scheduled_runs.add_unscheduled(store, ScheduledRunRow(due_at=due, status="due"))
    run = trained(store, bits, status, trigger="nightly", scheduled_run=row.id, **settings)
    execute(store, f"UPDATE runs SET created_at = '{due:%Y-%m-%d %H:%M:%S.000}' WHERE id = {run.id}")
    return store.run(run.id)


def trained(store: Store, bits: int | History = 0, status: str = "completed", **settings: Any) -> RunRow:
    """A run with the history of a seed, or with a given one."""
    values: dict[str, Any] = {"epochs": 5, "learning_rate": 0.1, "seed": 0, "environment": {}}
    writer = store.start_run(dataset_row(), **values | settings)
    for model in ("paddle", "python"):
        writer.append(model, bits if isinstance(bits, History) else history(5, seed=bits))
    writer.finish(status)
    return store.run(writer.run_id)


def judged(store: Store, run: RunRow) -> dict[str, VerdictRow]:
    """The verdicts on the bits of a run, by kind."""
    found = (judge_drift(store, run), judge_baseline(store, run))
    return {verdict.kind: verdict for verdict in found if verdict is not None}
