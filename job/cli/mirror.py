"""`job mirror`: VisualDL's logs, drawn from the store."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from db.schema import RunRow
from db.store import Store
from job.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_LOG_DIR,
    PATIENCE,
    DatabaseUrl,
    LogDir,
    open_store,
    quiet_store,
)
from job.cli.output import print_line
from job.cli.progress import drawing_progress
from job.errors import MirrorError
from job.log import log_line
from job.mirror.deleted import remove_deleted
from job.mirror.follow import follow as follow_run
from job.mirror.logs import BusyError
from job.mirror.repair import rewrite


def mirror(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's number, or `latest`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Draw every run of the store.")] = False,
    follow: Annotated[bool, typer.Option("--follow", hidden=True)] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    log_dir: LogDir = DEFAULT_LOG_DIR,
) -> int:
    """Draw the VisualDL logs of a run, or of all, anew from the store, but not of one in training.

    --all also removes the logs of runs that `job prune` deleted.
    """
    if (run is None) != every:
        raise typer.BadParameter("give either a RUN or --all")
    if follow and run is not None:
        follow_run(partial(quiet_store, database_url), int(run), log_dir, log_line)
        return 0
    with open_store(database_url) as store:
        if every:
            return draw_all(store, log_dir)
        write(store, store.run(str(run)), log_dir)
        return 0


def write(store: Store, run: RunRow, log_dir: Path) -> None:
    """Draw one run anew and say what came of it."""
    with drawing_progress() as on_progress:
        rewrite(store, run, log_dir, log_line, on_progress, timeout=PATIENCE)
    drawn = ", ".join(f"{model} {count:,}" for model, count in store.progress(run.id).items())
    print_line(f"run {run.id} drawn to {log_dir / str(run.id)}: {drawn or 'no epochs yet'}")


def draw_all(store: Store, log_dir: Path) -> int:
    """Remove the logs of deleted runs, draw every other anew; exit status 1 where one could not be drawn."""
    remove_deleted(store, log_dir, log_line)
    failed = False
    for run in reversed(store.runs()):
        try:
            write(store, run, log_dir)
        except BusyError as error:
            log_line(str(error))
        except MirrorError as error:
            log_line(f"run {run.id}: {error}")
            failed = True
    return 1 if failed else 0
