"""`job nights`: the scheduled runs and their outcomes, and whether one was missed."""

from __future__ import annotations

from typing import Annotated

import typer

from db import scheduled_runs
from db.errors import NotFoundError
from db.scheduled_runs import ScheduledRun
from db.store import Store
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, HeartbeatTimeout, open_store
from job.cli.output import print_json, print_line, print_table, short, verdict_record

CHECK_GRACE = 900.0
"""seconds after which a scheduled run that was due and has not begun counts as missed"""


def nights(
    limit: Annotated[int, typer.Option("--limit", min=0, help="Scheduled runs to list; 0 for all.")] = 30,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Only check that none is overdue or missed and the next is planned; else exit status 1.",
        ),
    ] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    as_json: AsJson = False,
) -> int:
    """List the scheduled runs, the latest first: outcome, first model's digest, drift verdict, duration.

    --check is for a health check. It exits with status 1 if a scheduled run is overdue, if the last one was
    missed, or if none is planned.
    """
    found: list[ScheduledRun] = []
    nothing = "no scheduled runs yet; `job nightly` starts them"
    try:
        with open_store(database_url, heartbeat_timeout=heartbeat_timeout) as store:
            store.mark_crashed()
            if check:
                return check_none_missed(store)
            found = list(scheduled_runs.newest(store, limit or None))
    except NotFoundError as missing:
        if check:
            raise
        nothing = str(missing)
    if as_json:
        print_json([scheduled_run_record(scheduled_run) for scheduled_run in found])
    elif not found:
        print_line(nothing)
    else:
        print_table(
            ["night", "due", "outcome", "run", "digest", "drift", "took", "why", "schedule"],
            [
                [
                    scheduled_run.row.id,
                    f"{scheduled_run.row.due_at:%Y-%m-%d %H:%M}Z",
                    scheduled_run.outcome,
                    scheduled_run.run.id if scheduled_run.run else None,
                    short(scheduled_run.run.models[0].digest) if scheduled_run.run else None,
                    drift_in_words(scheduled_run),
                    None if scheduled_run.seconds is None else f"{scheduled_run.seconds:.1f} s",
                    scheduled_run.row.detail
                    or (scheduled_run.run.stop_reason if scheduled_run.run else None),
                    scheduled_run.row.schedule,
                ]
                for scheduled_run in found
            ],
        )
    return 0


def check_none_missed(store: Store) -> int:
    """Print whether a scheduled run is overdue, was missed or is not planned; return the exit status."""
    late = scheduled_runs.overdue(store, CHECK_GRACE)
    if late:
        print_line(f"a scheduled run was due at {late[0].due_at:%Y-%m-%d %H:%M}Z and has not begun")
        return 1
    last = next((n for n in scheduled_runs.newest(store, 1000) if n.row.status != "due"), None)
    if last is not None and last.row.status == "missed":
        print_line(f"the scheduled run of {last.row.due_at:%Y-%m-%d %H:%M}Z was missed: {last.row.detail}")
        return 1
    planned = [
        scheduled_run
        for scheduled_run in scheduled_runs.newest(store, 1)
        if scheduled_run.row.status == "due"
    ]
    if not planned:
        print_line("no scheduled run is planned; `job nightly` plans the next one when it starts")
        return 1
    print_line(f"no scheduled run was missed; the next is due at {planned[0].row.due_at:%Y-%m-%d %H:%M}Z")
    return 0


def drift_in_words(scheduled_run: ScheduledRun) -> str | None:
    """The drift verdict, short enough for a table."""
    verdict = scheduled_run.drift
    if verdict is None:
        return None
    against = "a pruned run" if verdict.against_run_id is None else f"run {verdict.against_run_id}"
    if verdict.passed:
        return f"same bits as {against}"
    where = "" if verdict.first_epoch is None else f" from epoch {verdict.first_epoch}"
    gap = "" if verdict.worst is None else f", gap {verdict.worst:.2g}"
    return f"DIFFERS from {against}{where}{gap}"


def scheduled_run_record(scheduled_run: ScheduledRun) -> dict[str, object]:
    """A scheduled run for JSON."""
    return {
        "id": scheduled_run.row.id,
        "schedule": scheduled_run.row.schedule,
        "due_at": scheduled_run.row.due_at,
        "outcome": scheduled_run.outcome,
        "detail": scheduled_run.row.detail,
        "run": scheduled_run.run.id if scheduled_run.run else None,
        "digests": {m.name: m.digest for m in scheduled_run.run.models} if scheduled_run.run else None,
        "seconds": scheduled_run.seconds,
        "drift": None if scheduled_run.drift is None else verdict_record(scheduled_run.drift),
    }
