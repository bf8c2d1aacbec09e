"""`job nights`: the scheduled runs and their outcomes, and whether one was missed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer
from sqlalchemy import select

from db import scheduled_runs
from db.baselines import baselines
from db.errors import NotFoundError
from db.scheduled_runs import ScheduledRun
from db.schema import RunRow, VerdictRow
from db.specification import Specification
from db.store import Store
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, HeartbeatTimeout, duration, open_store
from job.cli.output import Gap, print_json, print_line, print_table, print_text, short, verdict_record
from job.schedule.glance import glance, last_missed


def nights(
    limit: Annotated[int, typer.Option(min=0, help="Scheduled runs to list; 0 for all.")] = 30,
    check: Annotated[
        bool, typer.Option("--check", help="Only check; exit status 1 if a run was missed.")
    ] = False,
    within: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration,
            metavar="AGE",
            help="With --check: only check the age of the last completed run: 26h, 2d.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page about all runs.")
    ] = None,
    metrics_file: Annotated[
        Path | None, typer.Option(metavar="FILE.prom", help="Write metrics for node_exporter.")
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE.xml", help="Write runs and verdicts as JUnit XML.")
    ] = None,
    github_summary: Annotated[
        bool, typer.Option("--github-summary", help="Add the runs to a GitHub Actions job's summary.")
    ] = False,
    form: Annotated[
        Literal["table", "json", "openmetrics"],
        typer.Option("--format", help="Print a table, JSON, or metrics for Prometheus."),
    ] = "table",
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    as_json: AsJson = False,
) -> int:
    """List the scheduled runs, the latest first, and what is open; or write files about them.

    "same as" names the run before if it has the same bits, and is "NOT 12" if run 12 has others; "baseline"
    likewise. The gap is the largest to the baseline, else to the run before.

    The page and the metrics are about all scheduled runs, the other files about the last --limit.

    --check exits with status 1 if a scheduled run is overdue, if the last one was missed, or if none is
    planned; with --within AGE, if the last completed one, or the last like a baseline, is older.
    """
    if within is not None and not check:
        raise typer.BadParameter("--within belongs to --check")
    summary = os.environ.get("GITHUB_STEP_SUMMARY", "") if github_summary else ""
    if github_summary and not summary:
        raise typer.BadParameter("--github-summary needs GITHUB_STEP_SUMMARY, which GitHub Actions sets")
    files = bool(report or metrics_file or junit_file or summary)
    if check and (files or as_json or form != "table"):
        raise typer.BadParameter("--check has no other output than its line")
    as_json = as_json or form == "json"
    found: list[ScheduledRun] = []
    line = ""
    nothing = "no scheduled runs yet; `job nightly` starts them"
    try:
        with open_store(database_url, heartbeat_timeout=heartbeat_timeout) as store:
            store.mark_crashed()
            if within is not None:
                return check_within(store, within)
            if check:
                return check_none_missed(store)
            every = scheduled_runs.newest(store)
            found = list(every[: limit or None])
            if files or form == "openmetrics":
                from job.cli import nights_files  # `--check` runs every minute, and needs no templates

                if files:
                    nights_files.write_files(store, every, found, report, metrics_file, junit_file, summary)
                else:
                    nights_files.print_openmetrics(store, every)
                return 0
            line = "" if as_json else glance(store, every)
    except NotFoundError as missing:
        if check or files or form == "openmetrics":
            raise
        nothing = str(missing)
    if as_json:
        print_json([scheduled_run_record(scheduled_run) for scheduled_run in found])
    elif not found:
        print_line(nothing)
    else:
        print_nights(found)
        print_text(line)
    return 0


def check_within(store: Store, within: timedelta) -> int:
    """Print how long ago the last run was completed; return the exit status."""
    expected = {"": select(RunRow)}
    expected |= {f" like run {row.run_id}": Specification.of(row.run).runs() for row in baselines(store)}
    ages = {like: scheduled_runs.seconds_since_completed(store, runs) for like, runs in expected.items()}
    like, age = max(ages.items(), key=lambda pair: math.inf if pair[1] is None else pair[1])
    if age is None:
        print_line(f"no scheduled run{like} was completed")
        return 1
    print_line(f"the last scheduled run{like} was completed {age / 3600:.1f} hours ago")
    return int(age > within.total_seconds())


def check_none_missed(store: Store) -> int:
    """Print whether a scheduled run is overdue, was missed or is not planned; return the exit status."""
    nights = scheduled_runs.newest(store, 1000)
    if missed := last_missed(store, nights):
        print_line(missed)
        return 1
    planned = [scheduled_run for scheduled_run in nights[:1] if scheduled_run.row.status == "due"]
    if not planned:
        print_line("no scheduled run is planned; `job nightly` plans the next one when it starts")
        return 1
    print_line(f"no scheduled run was missed; the next is due at {planned[0].row.due_at:%Y-%m-%d %H:%M}Z")
    return 0


def print_nights(found: Sequence[ScheduledRun]) -> None:
    """Print a line for each scheduled run, and below why those were not completed that were not."""
    baseline = ["baseline"] * any(each.baseline for each in found)
    gap = ["gap"] * any(gap_of(each) for each in found)
    print_table(
        ["night", "due", "outcome", "run", "digest", "same as", *baseline, *gap, "took", "schedule"],
        [
            [
                each.row.id,
                f"{each.row.due_at:%Y-%m-%d %H:%M}Z",
                each.outcome,
                each.run.id if each.run else None,
                short(each.run.models[0].digest) if each.run else None,
                same_as(each.drift),
                *[same_as(each.baseline)] * len(baseline),
                *[gap_of(each)] * len(gap),
                None if each.seconds is None else f"{each.seconds:.1f} s",
                each.row.schedule,
            ]
            for each in found
        ],
        spare=["schedule", *gap, "took"],
    )
    reasons: dict[str, list[str]] = {}
    for each in found:
        if each.why:
            reasons.setdefault(f"{each.outcome}: {each.why}", []).append(str(each.row.id))
    for reason, numbers in reasons.items():
        print_text(f"night{'s' * (len(numbers) > 1)} {', '.join(numbers)} {reason}")


def same_as(verdict: VerdictRow | None) -> str | None:
    """The run that has the same bits, or should have, by a verdict of the kind drift or baseline."""
    if verdict is None:
        return None
    against = "a deleted run" if verdict.against_run_id is None else verdict.against_run_id
    return f"{'' if verdict.passed else 'NOT '}{against}"


def gap_of(night: ScheduledRun) -> Gap | None:
    """The largest gap to the baseline, or if there is none to the run before; None if there is no gap."""
    verdict = night.baseline or night.drift
    return None if verdict is None or verdict.passed or verdict.worst is None else Gap(verdict.worst)


def scheduled_run_record(scheduled_run: ScheduledRun) -> dict[str, object]:
    """A scheduled run for JSON."""
    return {
        "id": scheduled_run.row.id,
        "schedule": scheduled_run.row.schedule,
        "due_at": scheduled_run.row.due_at,
        "outcome": scheduled_run.outcome,
        "detail": scheduled_run.row.detail,
        "run": scheduled_run.run.id if scheduled_run.run else None,
        "digests": scheduled_run.run.digests if scheduled_run.run else None,
        "seconds": scheduled_run.seconds,
        "drift": None if scheduled_run.drift is None else verdict_record(scheduled_run.drift),
    }
