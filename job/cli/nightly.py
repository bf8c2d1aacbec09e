"""`job nightly`: the runs that tell whether anything changed overnight."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.errors import HeldError, LedgerError
from job.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_LOG_DIR,
    Data,
    DatabaseTimeout,
    DatabaseUrl,
    Epochs,
    FailOn,
    HeartbeatTimeout,
    LearningRate,
    LogDir,
    LogFormat,
    LogFormatOption,
    NoMirror,
    Seed,
    Target,
    open_store,
)
from job.cli.train import train_to_the_end
from job.log import say

if TYPE_CHECKING:
    from db.store import Store
    from job.dataset import Dataset
    from job.training import Cancelled


A_DAY = 86_400.0
"""seconds after which a night that began and has no run is taken to have died"""


def nightly(
    context: typer.Context,
    cron: Annotated[
        str,
        typer.Option("--cron", envvar="JOB_CRON", help="Minute, hour, day, month and weekday, as cron's."),
    ] = "0 2 * * *",
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", envvar="JOB_TIMEZONE", help="Zone of --cron. Default: this machine's."),
    ] = None,
    run_now: Annotated[
        bool, typer.Option("--run-now", help="Run a night at once, and then by --cron.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Run one night now and end with its verdict; without --cron.")
    ] = False,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            "--fail-on",
            envvar="JOB_FAIL_ON",
            help="Failed verdicts that give exit status 1: every one, all but drift, or not one.",
        ),
    ] = FailOn.drift,
    epochs: Epochs = 10_000,
    learning_rate: LearningRate = 0.01,
    seed: Seed = 0,
    data: Data = None,
    target: Target = None,
    log_dir: LogDir = DEFAULT_LOG_DIR,
    no_mirror: NoMirror = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    database_timeout: DatabaseTimeout = 600.0,
    log_format: LogFormatOption = LogFormat.text,
    night: Annotated[int | None, typer.Option("--night", hidden=True)] = None,
) -> int:
    """Train every night, and say whether the bits are those of the night before.

    Stays and starts each night when it is due, in a process of its own; or runs one night now (--once), for
    whatever else keeps the time. One nightly run lives at a time: a second one is refused, and on record as
    skipped. JOB_NOTIFY_URLS, addresses as apprise writes them, hear of nights that fail, drift or are missed.
    """
    from job.models import load_models
    from job.notify import notifier
    from job.run import stopped_by_signals
    from job.training import Cancelled

    stop = Cancelled()
    notify = notifier(say)

    def store() -> Store:
        return open_store(
            database_url,
            create=True,
            heartbeat_timeout=heartbeat_timeout,
            database_timeout=database_timeout,
            stop=stop,
        )

    try:
        if once:
            load_models()  # Paddle sets signal handlers of its own
            with stopped_by_signals(stop), store() as opened:
                if night is not None:  # whoever started us tells of it
                    return one_night(context, opened, night, stop)
                return one_night_told(context, opened, stop, notify)

        from job.schedule import Schedule
        from job.scheduler import NightlyScheduler

        schedule = Schedule(cron, timezone)
        the_dataset(context)  # refused now rather than at night
        os.environ.update(settings(context))
        command = [sys.executable, "-m", "job", "nightly", "--once", "--night"]
        with stopped_by_signals(stop):
            NightlyScheduler(schedule, command, store, notify, stop).run(run_now)
    except LedgerError as error:
        if not stop.is_set():
            raise
        say(f"stopped by {stop.by}: {error}")
    else:
        say(f"no more nights: stopped by {stop.by}", "schedule")
    return 128 + stop.number


def settings(context: typer.Context) -> dict[str, str]:
    """The options of a night as its process finds them: in the environment; a URL may hold a password."""
    given = {parameter.name: parameter.envvar for parameter in context.command.params}
    values = ((given.get(name), value) for name, value in context.params.items())
    return {
        str(variable): str(int(value) if isinstance(value, bool) else value)
        for variable, value in values
        if variable and value is not None
    }


def the_dataset(context: typer.Context) -> Dataset:
    """The dataset that the options name. Raises DataError."""
    from job.dataset import DEFAULT_DATA, load

    path: Path | None = context.params["data"]
    return load(DEFAULT_DATA if path is None else path, context.params["target"])


def one_night_told(
    context: typer.Context, store: Store, stop: Cancelled, notify: Callable[[str, str], None]
) -> int:
    """Run a night that nothing of ours has planned, and notify of it if it goes wrong."""
    from db import nights
    from db.schema import NightRow
    from job.nightly import bad_news

    nights.give_up_unscheduled(store, A_DAY)
    row = nights.record(store, NightRow(due_at=datetime.now(UTC), status="due"))
    news: str | None = None
    try:
        return one_night(context, store, row.id, stop)
    except Exception as error:
        if not (isinstance(error, HeldError) or stop.is_set()):
            news = in_words(error)
        raise
    finally:
        with suppress(LedgerError):  # a database that is gone has been told of
            found = nights.find(store, row.id)
            news = bad_news(found, store.verdicts(found.run.id) if found.run else []) or news
        if news:
            notify("a night went wrong", news)


def one_night(context: typer.Context, store: Store, night: int, stop: Cancelled) -> int:
    """Run the night of that number, put on record what became of it, and give its exit status."""
    from db import nights
    from job.environment import environment

    options = context.params
    try:
        dataset = the_dataset(context)
        writer = store.start_run(
            dataset.row(),
            epochs=options["epochs"],
            learning_rate=options["learning_rate"],
            seed=options["seed"],
            environment=environment(),
            trigger="nightly",
            night=night,
        )
        fail_on = options["fail_on"]
        exit_status = train_to_the_end(context, store, writer, dataset, stop, quiet=True, fail_on=fail_on)
    except Exception as error:
        why = f"stopped by {stop.by}" if stop.is_set() else in_words(error)
        status = "skipped" if stop.is_set() or isinstance(error, HeldError) else "failed"
        with suppress(LedgerError):  # where the database is gone, the first error is the one to tell
            nights.settle(store, night, status, why)
        raise
    if exit_status == 1:
        how = f"night {night} went wrong; `job show {writer.run_id}` tells how"
        say(how, "night_failed", night=night, run=writer.run_id)
    return exit_status


def in_words(error: Exception) -> str:
    """What went wrong, for the record and for who is told of it."""
    return str(error) if isinstance(error, LedgerError) else f"unexpected {type(error).__name__}: {error}"
