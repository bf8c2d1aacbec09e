"""`job mirror` and `job dashboard`: logs for VisualDL, and VisualDL itself."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from db.errors import StoreError
from db.schema import RunRow
from db.store import Store
from job.cli.options import (
    ANSWER,
    DEFAULT_DATABASE,
    DEFAULT_LOG_DIR,
    DatabaseUrl,
    LogDir,
    open_store,
)
from job.cli.output import print_line
from job.cli.progress import drawing_progress
from job.errors import MirrorError
from job.log import log_line
from job.mirror.dashboard import Dashboard
from job.mirror.deleted import remove_deleted
from job.mirror.follow import follow as follow_run
from job.mirror.logs import BusyError
from job.mirror.memory import affordable_points, available_memory
from job.mirror.protocol import write_progress
from job.mirror.repair import about_epochs, make_log_dir, repair_logs, rewrite
from job.stop import StopRequest, stopped_by_signals

FEWEST_POINTS = 10
PATIENCE = 5.0
"""seconds to wait for another process that draws the run, or for the database"""


def mirror(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's number, or `latest`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Draw every run of the store.")] = False,
    follow: Annotated[bool, typer.Option("--follow", hidden=True)] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    log_dir: LogDir = DEFAULT_LOG_DIR,
) -> int:
    """Draw the VisualDL logs of a run, or of all, anew from the store.

    A run in training is left to its own mirror, which mends its logs itself. --all also removes the logs of
    runs that `job prune` deleted.
    """
    if (run is None) != every:
        raise typer.BadParameter("give either a RUN or --all")
    if follow and run is not None:
        follow_run(partial(quiet_store, database_url), int(run), log_dir, log_line, write_progress)
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


def quiet_store(database_url: str, stop: threading.Event) -> Store:
    """The store for a follower: the trainer says whatever there is to say of the database."""
    return Store(database_url, database_timeout=PATIENCE, answer_timeout=ANSWER, stop=stop)


def enough_points(value: int | None) -> int | None:
    """The size of a sample, checked: it holds the newest point, both extremes, and some more."""
    if value is not None and 0 < value < FEWEST_POINTS:
        raise typer.BadParameter(
            f"{value} are too few for a chart; give {FEWEST_POINTS} or more, or 0 for all"
        )
    return value


def dashboard(
    host: Annotated[
        str,
        typer.Option("--host", envvar="JOB_DASHBOARD_HOST", help="Address to serve on. There is no login."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            envvar="JOB_DASHBOARD_PORT",
            help="Port to serve on; 0 for a free one.",
        ),
    ] = 8040,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            envvar="JOB_DASHBOARD_ALLOW_HOST",
            metavar="NAME",
            help="Answer requests under this host name, too; repeatable, in the environment apart by blanks. "
            "Default: localhost and --host.",
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            "--points",
            min=0,
            envvar="JOB_DASHBOARD_POINTS",
            callback=enough_points,
            help="Points a chart, 0 for every epoch. Default: every epoch, or what fits into memory.",
        ),
    ] = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    log_dir: LogDir = DEFAULT_LOG_DIR,
) -> int:
    """Check and mend the VisualDL logs, then show them in a browser until stopped."""
    make_log_dir(log_dir)
    stop = StopRequest()

    def repair_now() -> None:
        try:
            with quiet_store(database_url, stop) as store:
                repair_logs(store, log_dir, log_line)
        except StoreError as error:
            log_line(f"the logs are shown as they are: {error}")
            repair_logs(None, log_dir, log_line)

    def most_points() -> int:
        if points is not None:
            return points
        found = affordable_points(about_epochs(log_dir), available_memory())
        if found:
            log_line(f"memory allows {found:,} points a chart; --points sets another number")
        return found

    # A signal ends even a long drawing: the next start goes on, as after a kill.
    with suppress(KeyboardInterrupt), stopped_by_signals(stop, interrupt=True):
        Dashboard(
            *(log_dir, host, port),
            allowed_hosts=allow_host or (),
            points=most_points,
            repair_logs=repair_now,
            stop=stop,
            log_line=log_line,
        ).run()
    return 128 + stop.number
