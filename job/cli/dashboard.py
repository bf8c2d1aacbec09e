"""`job dashboard`: VisualDL in a browser."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from db.errors import StoreError
from job.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_LOG_DIR,
    DatabaseUrl,
    LogDir,
    open_store,
    quiet_store,
    setting,
)
from job.log import log_line
from job.mirror.dashboard import Dashboard
from job.mirror.files import CHART, FEWEST, Shown, drawn_runs, make_log_dir
from job.stop import StopRequest, stopped_by_signals

FEWEST_POINTS = 10
LOGGED_RUNS = 100
"""runs whose logs are checked between two lines about it"""


def enough_points(value: int | None) -> int | None:
    """The size of a sample, checked: it holds the newest point, both extremes, and some more."""
    if value is not None and 0 < value < FEWEST_POINTS:
        raise typer.BadParameter(
            f"{value} are too few for a chart; give {FEWEST_POINTS} or more, or 0 for all"
        )
    return value


def dashboard(
    run: Annotated[list[str] | None, typer.Option(metavar="RUN", help="Show this run; repeatable.")] = None,
    runs: Annotated[
        int, setting("JOB_DASHBOARD_RUNS", "Show the N newest runs; ignored with --run or --all.", min=1)
    ] = 20,
    every: Annotated[bool, typer.Option("--all", help="Show every run, and all other logs.")] = False,
    host: Annotated[str, setting("JOB_DASHBOARD_HOST", "Address; there is no login.")] = "127.0.0.1",
    port: Annotated[int, setting("JOB_DASHBOARD_PORT", "Port; 0 for a free one.", min=0, max=65535)] = 8040,
    allow_host: Annotated[
        list[str] | None,
        setting(
            "JOB_DASHBOARD_ALLOW_HOST",
            "A host name to answer to; repeatable, or separated by spaces. Default: localhost and --host.",
            metavar="NAME",
        ),
    ] = None,
    points: Annotated[
        int | None,
        setting(
            "JOB_DASHBOARD_POINTS",
            f"Points of a curve; 0: every epoch. Default: {CHART:,} a chart, at least {FEWEST:,} a curve.",
            min=0,
            callback=enough_points,
        ),
    ] = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    log_dir: LogDir = DEFAULT_LOG_DIR,
) -> int:
    """Show the newest runs, also those in training, in a browser; check and repair their VisualDL logs."""
    if every and run:
        raise typer.BadParameter("give either --run or --all")
    make_log_dir(log_dir)
    stop = StopRequest()
    named = {run_number(reference, database_url, log_dir) for reference in run or ()}
    shown = Shown(0 if named or every else runs, tuple(sorted(named)))

    def on_run(done: int, total: int) -> None:
        if done == total or done % LOGGED_RUNS == 0:
            log_line(f"checked the logs of {done} of {total} runs", "progress", runs=done, of=total)

    def repair_now() -> None:
        from job.mirror.repair import repair_logs  # loads for as long as the server that starts before it

        try:
            with quiet_store(database_url, stop) as store:
                repair_logs(store, log_dir, log_line, shown, on_run)
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
