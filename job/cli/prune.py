"""`job prune`: deletes or downsamples old runs, so that a store of many scheduled runs stays small."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from db.errors import NotFoundError
from db.retention import Policy, Pruning, apply_pruning, prunings
from job.cli.options import (
    DEFAULT_DATABASE,
    MOST_EPOCHS,
    AsJson,
    DatabaseUrl,
    HeartbeatTimeout,
    duration,
    open_store,
)
from job.cli.output import print_json, print_line, print_table


def prune(
    keep_nights: Annotated[
        int | None,
        typer.Option("--keep-nights", min=1, help="Keep the newest N nightly runs; delete older ones."),
    ] = None,
    thin_older_than: Annotated[
        timedelta | None,
        typer.Option(
            "--thin-older-than",
            parser=duration,
            metavar="AGE",
            help="Downsample runs that ended longer ago than this: 90d, 36h, 12w.",
        ),
    ] = None,
    every: Annotated[
        int,
        typer.Option(
            "--every",
            min=2,
            max=MOST_EPOCHS,
            help="Of a downsampled run, keep every Nth epoch, the first, the best and the last.",
        ),
    ] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Prune runs with a failed verdict, too.")] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    as_json: AsJson = False,
) -> int:
    """Delete old nightly runs, and downsample old runs of every kind. Running runs are never touched.

    Runs with a failed verdict, and the runs that they were compared with, are kept unless --force is given;
    a verdict of the kind baseline does not count, as it fails every night. The run that the next scheduled
    run is compared with is always kept, and so are all runs that are or were a baseline, and the list of
    scheduled runs.
    A downsampled run can be read and drawn, but not verified, compared or resumed.
    """
    policy = Policy(keep_nights, thin_older_than, every, force)
    done: list[tuple[Pruning, int | None]] = []
    nothing = "nothing to prune"
    try:
        with open_store(database_url, heartbeat_timeout=heartbeat_timeout) as store:
            store.mark_crashed()
            for pruning in prunings(store, policy):
                idle = dry_run or pruning.action == "keep"
                done.append((pruning, 0 if idle else apply_pruning(store, pruning, policy)))
    except NotFoundError as missing:
        nothing = str(missing)
    if as_json:
        print_json([record(pruning, rows) | {"dry_run": dry_run} for pruning, rows in done])
    elif not done:
        print_line(nothing)
    else:
        print_table(
            ["run", "status", "trigger", "epochs", "would be" if dry_run else "is", "why", "rows removed"],
            [
                [
                    pruning.run.id,
                    pruning.run.status,
                    pruning.run.trigger,
                    pruning.run.epochs,
                    words(pruning, rows),
                    pruning.why,
                    None if dry_run else rows,
                ]
                for pruning, rows in done
            ],
        )
    return 0


def words(pruning: Pruning, rows: int | None) -> str:
    """What was done with a run, or would be done."""
    if rows is None:
        return "kept: it has changed meanwhile"
    if pruning.every is not None:
        return f"downsampled to every {pruning.every:,}th"
    return {"delete": "deleted", "keep": "kept"}[pruning.action]


def record(pruning: Pruning, rows: int | None) -> dict[str, object]:
    """What was done with a run, for JSON."""
    action = "keep" if rows is None else pruning.action
    return {"run": pruning.run.id, "action": action, "why": pruning.why, "rows_removed": rows or 0}
