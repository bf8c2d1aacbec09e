"""`job prune`: deletes, archives or downsamples old runs, so that a store of many runs stays small."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer

from db.archiving import archive
from db.errors import NotFoundError, UnsuitableRunError
from db.integrity import Fault
from db.retention import Policy, Pruning, apply_pruning, prunings
from db.store import Store
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
from job.log import log_line


def prune(
    keep_nights: Annotated[
        int | None, typer.Option(min=1, help="Delete all but the N newest nightly runs.")
    ] = None,
    archive_older_than: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="AGE", help="Archive runs older than this: 90d, 36h, 12w."),
    ] = None,
    thin_older_than: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="AGE", help="Downsample runs older than this."),
    ] = None,
    every: Annotated[
        int,
        typer.Option(min=2, max=MOST_EPOCHS, help="Keep every Nth, the first, best and last epoch of these."),
    ] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Include runs with a failed verdict.")] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    as_json: AsJson = False,
) -> int:
    """Delete old nightly runs; archive or downsample old runs of every kind. Running runs are never touched.

    An archived run keeps every bit in about a fortieth of the space, and is read, judged and compared like
    any other. Your own SQL sees only its first, best and last epochs until `job db unarchive` puts all of
    them back. Exit status 1 if a run cannot be archived because its epochs or its archive were changed.

    A downsampled run can be read and drawn, but not verified, compared or resumed. A run that is old enough
    to be archived is not downsampled.

    Without --force, runs with a failed verdict (other than baseline), and the runs that they were compared
    with, are neither deleted nor downsampled. Nor is ever the run that the next scheduled run is compared
    with, or one that is or was a baseline. The list of scheduled runs is kept.
    """
    policy = Policy(keep_nights, thin_older_than, every, force, archive_older_than)
    done: list[tuple[Pruning, int | None]] = []
    nothing, status, before, after = "nothing to prune", 0, 0, 0
    try:
        with open_store(database_url, heartbeat_timeout=heartbeat_timeout) as store:
            store.mark_crashed()
            before = store.size()
            for pruning in prunings(store, policy):
                if dry_run or pruning.action == "keep":
                    done.append((pruning, 0))
                elif pruning.action == "archive":
                    done.append(archived(store, pruning))
                    status = max(status, int(done[-1][0].action == "keep"))
                else:
                    done.append((pruning, apply_pruning(store, pruning, policy)))
            after = store.size()
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
        if any(pruning.action == "archive" for pruning, _ in done):
            change = "" if dry_run else f"; before, it took {before / 1e6:,.1f} MB"
            free = "" if store.path else ", with space that PostgreSQL will use again"
            print_line(f"the store takes {after / 1e6:,.1f} MB{free}{change}")
    return status


def archived(store: Store, pruning: Pruning) -> tuple[Pruning, int | None]:
    """Archive a run; return what is printed of it, and the number of rows removed, None if it has changed."""
    try:
        found = archive(store, pruning.run.id)
    except (UnsuitableRunError, NotFoundError) as error:  # resumed, pruned or deleted meanwhile
        log_line(str(error))
        return pruning, None
    if isinstance(found, Fault):
        log_line(f"run {pruning.run.id} is left as it is: {found.detail}")
        return replace(pruning, action="keep", why="its epochs or its archive were changed"), 0
    return pruning, found


def words(pruning: Pruning, rows: int | None) -> str:
    """What was done with a run, or would be done."""
    if rows is None:
        return "kept: it has changed meanwhile"
    if pruning.every is not None:
        return f"downsampled to every {pruning.every:,}th"
    return {"delete": "deleted", "archive": "archived", "keep": "kept"}[pruning.action]


def record(pruning: Pruning, rows: int | None) -> dict[str, object]:
    """What was done with a run, for JSON."""
    action = "keep" if rows is None else pruning.action
    return {"run": pruning.run.id, "action": action, "why": pruning.why, "rows_removed": rows or 0}
