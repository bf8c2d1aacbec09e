"""`job dashboard`: VisualDL in a browser."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from db.errors import StoreError
from job.cli.options import DEFAULT_DATABASE, DEFAULT_LOG_DIR, DatabaseUrl, LogDir, open_store, quiet_store
from job.cli.progress import CheckingProgress
from job.log import log_line
from job.mirror.dashboard import Dashboard
from job.mirror.files import CHART, FEWEST, Shown, drawn_runs, make_log_dir
from job.stop import StopRequest, stopped_by_signals

FEWEST_POINTS = 10


def enough_points(value: int | None) -> int | None:
    """The size of a sample, checked: it holds the newest point, both extremes, and some more."""
    if value is not None and 0 < value < FEWEST_POINTS:
        raise typer.BadParameter(
            f"{value} are too few for a chart; give {FEWEST_POINTS} or more, or 0 for all"
        )
    return value


def dashboard(
    run: Annotated[
        list[str] | None,
        typer.Option("--run", metavar="RUN", help="Show this run, a number or `latest`; repeatable."),
    ] = None,
    runs: Annotated[
        int,
        typer.Option(
            "--runs",
            min=1,
            envvar="JOB_DASHBOARD_RUNS",
            help="Show the newest runs, so many; with --run or --all, it has no effect.",
        ),
    ] = 20,
    every: Annotated[
        bool, typer.Option("--all", help="Show every run, and what else is in the log directory.")
    ] = False,
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
            help=f"Points a curve, 0 for every epoch. Default: {CHART:,} shared among the curves of a chart, "
            f"at least {FEWEST:,} each.",
        ),
    ] = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    log_dir: LogDir = DEFAULT_LOG_DIR,
) -> int:
    """Show the newest runs in a browser until stopped; check and mend their VisualDL logs.

    Runs that are trained meanwhile appear by themselves.
    """
    if every and run:
        raise typer.BadParameter("give either --run or --all")
    make_log_dir(log_dir)
    stop = StopRequest()
    named = {run_number(reference, database_url, log_dir) for reference in run or ()}
    shown = Shown(0 if named or every else runs, tuple(sorted(named)))

    def repair_now() -> None:
        from job.mirror.repair import repair_logs  # loads for as long as the server that starts before it

        try:
            with quiet_store(database_url, stop) as store:
                repair_logs(store, log_dir, log_line, shown, CheckingProgress())
        except StoreError as error:
            log_line(f"the logs are shown as they are: {error}")

    # A signal ends even a long drawing: the next start goes on, as after a kill.
    with suppress(KeyboardInterrupt), stopped_by_signals(stop, interrupt=True):
        Dashboard(
            *(log_dir, host, port),
            shown=shown,
            allowed_hosts=allow_host or (),
            points=points,
            repair_logs=repair_now,
            stop=stop,
            log_line=log_line,
        ).run()
    return 128 + stop.number


def run_number(reference: str, database_url: str, log_dir: Path) -> int:
    """The number of a run that is to be shown. Raises NotFoundError if neither store nor logs have it."""
    try:
        with open_store(database_url) as store:
            return store.run(reference).id
    except StoreError:
        if reference.isdecimal() and int(reference) in drawn_runs(log_dir):
            return int(reference)  # its logs are all that is left of it, or the database is away
        raise
