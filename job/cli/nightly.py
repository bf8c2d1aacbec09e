"""`job nightly`: the runs that tell whether anything changed overnight."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from db import scheduled_runs
from db.errors import LeaseHeldError, LedgerError
from db.schema import ScheduledRunRow
from db.store import Store
from job.cli.options import (
    LogFormat,
    Mirroring,
    StoreAccess,
    Tolerance,
    Training,
    command,
    setting,
)
from job.cli.table_options import ReadingOptions
from job.cli.train import Output, train_and_print
from job.errors import in_words
from job.log import log_line
from job.models.loading import load_models
from job.models.reference import sources
from job.schedule.cron import Schedule
from job.schedule.notify import bad_news, notifier
from job.schedule.scheduler import NightlyScheduler
from job.stop import StopRequest, stopped_by_signals
from job.training import Settings, start
from job.verdicts.fail_on import FailOn

A_DAY = 86_400.0
"""seconds after which a scheduled run that began and has no run counts as failed"""


@command
def nightly(
    context: typer.Context,
    *,
    cron: Annotated[str, setting("JOB_CRON", "Minute, hour, day, month, weekday.")] = "0 2 * * *",
    timezone: Annotated[
        str | None, setting("JOB_TIMEZONE", "Time zone of --cron. Default: the machine's.")
    ] = None,
    run_now: Annotated[bool, typer.Option("--run-now", help="Start a run at once, then by --cron.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Train one run now, without a schedule.")] = False,
    fail_on: Annotated[
        FailOn,
        setting(
            "JOB_FAIL_ON",
            "Failed verdicts that give exit status 1 and are notified: drift, all; change, all but "
            "baseline; parity, all but baseline and drift; never, none.",
        ),
    ] = FailOn.drift,
    training: Training,
    reading: ReadingOptions,
    tolerance: Tolerance = None,
    mirroring: Mirroring,
    access: StoreAccess,
    log_format: LogFormat = "text",
    scheduled_run: Annotated[int | None, typer.Option("--night", hidden=True)] = None,
) -> int:
    """Train on a schedule, and judge whether the bits are those of the night before and of the baseline.

    Starts each run when it is due, in its own process. With --once it trains one run now, for cron, systemd
    or another scheduler. One nightly run trains at a time: a second one is skipped. The addresses in
    JOB_NOTIFY_URLS (in apprise's form) are notified of runs that fail, drift or are missed.
    """
    stop = StopRequest()
    notify = notifier(log_line)
    output = Output(mirroring, access.database_url, tolerance, quiet=True, fail_on=fail_on)
    chosen = partial(training.settings, reading)
    try:
        if once:
            load_models(training.models)
            with stopped_by_signals(stop), access.open(stop) as store:
                if scheduled_run is not None:  # the scheduler that started this process reports it
                    return train_scheduled(store, scheduled_run, chosen, stop, output)
                return train_unscheduled(store, chosen, stop, output, notify)

        schedule = Schedule(cron, timezone)
        sources(chosen().models)  # a name or a file that is not there is refused now
        os.environ.update(settings(context))
        models = [word for model in training.models for word in ("--model", model)]
        command = [sys.executable, "-m", "job", "nightly", "--once", *models, "--night"]
        with stopped_by_signals(stop):
            NightlyScheduler(schedule, command, lambda: access.open(stop), notify, stop, fail_on).run(run_now)
    except LedgerError as error:
        if not stop.is_set():
            raise
        log_line(f"stopped by {stop.by}: {error}")
    else:
        log_line(f"the schedule ends: stopped by {stop.by}", "schedule")
    return stop.exit_status


def settings(context: typer.Context) -> dict[str, str]:
    """The options but --model as variables for a scheduled run's process; a URL may hold a password."""
    given = {parameter.name: parameter.envvar for parameter in context.command.params}
    values = ((given.get(name), value) for name, value in context.params.items() if name != "model")
    return {
        str(variable): str(int(value) if isinstance(value, bool) else value)
        for variable, value in values
        if variable and value is not None
    }


def train_unscheduled(
    store: Store,
    chosen: Callable[[], Settings],
    stop: StopRequest,
    output: Output,
    notify: Callable[[str, str], None],
) -> int:
    """Train a run of the `chosen` settings that another scheduler started, and notify if it fails."""
    scheduled_runs.give_up_unscheduled(store, A_DAY)
    row = scheduled_runs.add_unscheduled(store, ScheduledRunRow(due_at=datetime.now(UTC), status="due"))
    news: str | None = None
    try:
        return train_scheduled(store, row.id, chosen, stop, output)
    except Exception as error:
        if not (isinstance(error, LeaseHeldError) or stop.is_set()):
            news = in_words(error)
        raise
    finally:
        with suppress(LedgerError):  # the database is unreachable, which is logged already
            found = scheduled_runs.find(store, row.id)
            news = bad_news(found, store.verdicts(found.run.id) if found.run else [], output.fail_on) or news
        if news:
            notify("a scheduled run failed", news)


def train_scheduled(
    store: Store, scheduled_run: int, chosen: Callable[[], Settings], stop: StopRequest, output: Output
) -> int:
    """Train the scheduled run of that id, store its outcome, and return its exit status."""
    try:
        settings = replace(chosen(), trigger="nightly", scheduled_run=scheduled_run)
        writer = start(store, settings)
        exit_status = train_and_print(writer, settings.dataset, stop, output)
    except Exception as error:
        why = f"stopped by {stop.by}" if stop.is_set() else in_words(error)
        status = "skipped" if stop.is_set() or isinstance(error, LeaseHeldError) else "failed"
        with suppress(LedgerError):  # if the database is unreachable, the first error is raised
            scheduled_runs.settle(store, scheduled_run, status, why)
        raise
    if exit_status == 1:
        how = f"scheduled run {scheduled_run} failed; see `job show {writer.run_id}`"
        log_line(how, "night_failed", scheduled_run=scheduled_run, run=writer.run_id)
    return exit_status
