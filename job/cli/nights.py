"""`job nights`: what became of every night, and whether one was missed."""

from __future__ import annotations

from typing import Annotated

import typer

from db import scheduled_runs
from db.errors import NotFoundError
from db.scheduled_runs import Night
from db.store import Store
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, HeartbeatTimeout, open_store
from job.cli.output import print_json, print_line, print_table, verdict_record

CHECK_GRACE = 900.0
"""seconds after which a night that was due and has not begun counts as missed"""


def nights(
    limit: Annotated[int, typer.Option("--limit", min=0, help="Nights to list; 0 for all.")] = 30,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only say whether a night was missed; exit status 1 if one was."),
    ] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    as_json: AsJson = False,
) -> int:
    """List the nights, the latest first: what became of each, its verdict and how long it took.

    --check is for a health check: it fails while a night is overdue, or the last one was missed, and where no
    night is planned at all.
    """
    found: list[Night] = []
    nothing = "no nights yet; `job nightly` runs them"
    try:
        with open_store(database_url, heartbeat_timeout=heartbeat_timeout) as store:
            store.notice_crashes()
            if check:
                return check_nights(store)
            found = list(scheduled_runs.nights(store, limit or None))
    except NotFoundError as missing:
        if check:
            raise
        nothing = str(missing)
    if as_json:
        print_json([night_record(night) for night in found])
    elif not found:
        print_line(nothing)
    else:
        print_table(
            ["night", "due", "outcome", "run", "drift", "took", "why", "schedule"],
            [
                [
                    night.row.id,
                    night.row.due_at,
                    night.outcome,
                    night.run.id if night.run else None,
                    drift_in_words(night),
                    None if night.seconds is None else f"{night.seconds:.1f} s",
                    night.row.detail or (night.run.stop_reason if night.run else None),
                    night.row.schedule,
                ]
                for night in found
            ],
        )
    return 0


def check_nights(store: Store) -> int:
    """Say whether the last night that was due began; the exit status for it."""
    late = scheduled_runs.overdue(store, CHECK_GRACE)
    if late:
        print_line(f"a night was due at {late[0].due_at:%Y-%m-%d %H:%M}Z and has not begun")
        return 1
    last = next((n for n in scheduled_runs.nights(store, 1000) if n.row.status != "due"), None)
    if last is not None and last.row.status == "missed":
        print_line(f"the night of {last.row.due_at:%Y-%m-%d %H:%M}Z was missed: {last.row.detail}")
        return 1
    planned = [night for night in scheduled_runs.nights(store, 1) if night.row.status == "due"]
    if not planned:
        print_line("no night is planned; `job nightly` plans the next one when it starts")
        return 1
    print_line(f"no night was missed; the next is due at {planned[0].row.due_at:%Y-%m-%d %H:%M}Z")
    return 0


def drift_in_words(night: Night) -> str | None:
    """What a night's verdict on drift says, short enough for a table."""
    verdict = night.drift
    if verdict is None:
        return None
    against = "a pruned run" if verdict.against_run_id is None else f"run {verdict.against_run_id}"
    if verdict.passed:
        return f"same bits as {against}"
    where = "" if verdict.first_epoch is None else f" from epoch {verdict.first_epoch}"
    gap = "" if verdict.worst is None else f", gap {verdict.worst:.2g}"
    return f"DIFFERS from {against}{where}{gap}"


def night_record(night: Night) -> dict[str, object]:
    """A night as JSON has it."""
    return {
        "id": night.row.id,
        "schedule": night.row.schedule,
        "due_at": night.row.due_at,
        "outcome": night.outcome,
        "detail": night.row.detail,
        "run": night.run.id if night.run else None,
        "seconds": night.seconds,
        "drift": None if night.drift is None else verdict_record(night.drift),
    }
