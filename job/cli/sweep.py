"""`job sweep` and `job worker`: many runs, on one machine or on many."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Annotated
from uuid import uuid4

import typer

from db.sweeps import tables_of
from job.cli.options import (
    Data,
    Epochs,
    LogFormat,
    Models,
    StoreAccess,
    Target,
    Tolerance,
    command,
    finite_positive,
    references,
    setting,
)
from job.cli.output import print_line
from job.cli.progress import counting
from job.cli.table_options import ReadingOptions
from job.errors import SweepError
from job.log import in_json, log_line
from job.models.loading import load_models
from job.models.reference import reference_of, sources
from job.stop import StopRequest, stopped_by_signals
from job.sweep.cluster import client_of, is_elsewhere, load_ahead, run_all, work
from job.sweep.tasks import Result, Task, combinations
from job.sweep.tasks import learning_rates as rates_of
from job.sweep.tasks import seeds as seeds_of


@command
def sweep(
    *,
    seeds: Annotated[str, setting("JOB_SEEDS", "Seeds: 0:20 (20 is left out), or 1,2,5.")] = "0:20",
    learning_rates: Annotated[str, setting("JOB_LEARNING_RATES", "Like 0.003,0.01,0.03.")] = "0.01",
    name: Annotated[str | None, setting("JOB_SWEEP", "Name of the sweep. Default: data and epochs.")] = None,
    epochs: Epochs = 10_000,
    data: Data = None,
    target: Target = None,
    reading: ReadingOptions,
    model: Models = None,
    tolerance: Tolerance = None,
    scheduler: Annotated[
        str | None,
        setting(
            "JOB_SCHEDULER", "A Dask scheduler with `job worker`s, tcp://host:port. Default: own processes."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Own processes. Default: one a core.")
    ] = None,
    access: StoreAccess,
    log_format: LogFormat = "text",
) -> int:
    """Train a run for every seed with every learning rate, in parallel.

    The same command continues: it skips completed runs and resumes interrupted ones. Exit status 1 if a run
    diverged, failed, or failed parity.
    """
    if scheduler and workers:
        raise SweepError("--workers starts processes of this machine; a scheduler has its own workers")
    models = tuple(reference_of(source) for source in sources(references(model)))
    if own := [model for model in models if ":" in model]:
        load_models(own)  # it may be refused; the workers load the others
    chosen = combinations(seeds_of(seeds), rates_of(learning_rates, checked))
    dataset = reading.dataset(data, target)
    stop = StopRequest()
    label = name or f"{dataset.name.partition('.')[0]}-{epochs}"
    with access.open() as store:
        if tables_of(store, label) - {(dataset.sha256, dataset.target, dataset.reading.stored)}:
            raise SweepError(
                f"the sweep {label} has runs of another table or target, or read it otherwise; "
                "give another --name"
            )
        if store.path is not None and scheduler and is_elsewhere(scheduler):
            raise SweepError("a SQLite store is a file on this machine; workers elsewhere need PostgreSQL")
        url = access.database_url if store.path is None else f"sqlite:///{store.path.absolute()}"
    if scheduler is None:
        load_ahead(models)  # continues while Dask is imported
    event = f"epoch-ledger stop {uuid4().hex}"  # another sweep of this name is not stopped with this one
    tasks = [
        Task(
            label,
            seed,
            rate,
            epochs,
            url,
            access.heartbeat_timeout,
            access.database_timeout,
            event,
            tolerance,
            models,
        )
        for seed, rate in chosen
    ]
    log_line(f"sweep {label}: {len(tasks):,} runs of {epochs:,} epochs", "sweep_begins", sweep=label)
    begun = time.monotonic()
    results: list[Result] = []
    with stopped_by_signals(stop), counting("runs", len(tasks)) as advance:

        def on_result(task: Task, result: Result) -> None:
            results.append(result)
            advance()
            log_result(task, result, len(results), len(tasks))

        try:
            with client_of(scheduler, workers or os.cpu_count() or 1) as client:
                run_all(client, tasks, dataset, stop, on_result)
        except Exception:
            if not stop.is_set():  # else a cluster broke that was to end anyway
                raise
    return print_outcome(label, results, len(tasks), time.monotonic() - begun, stop.number)


def checked(value: float) -> float:
    """A learning rate, checked as `job train` does. Raises SweepError."""
    try:
        return finite_positive(value)
    except typer.BadParameter as error:
        raise SweepError(f"--learning-rates: {error}") from None


def print_outcome(label: str, results: list[Result], of: int, seconds: float, stopped_by: int) -> int:
    """Print a sweep's outcome; return its exit status."""
    counts = {
        "trained now": sum(result.trained and result.good for result in results),
        "completed before": sum(not result.trained and result.good for result in results),
    }
    for status in ("diverged", "failed", "interrupted", "held"):
        counts[status] = sum(result.status == status for result in results)
    counts["not begun"] = of - len(results)
    said = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    print_line(f"sweep {label}: {said}, in {seconds:.1f} s")
    print_line(f"`job query sweep --name {label}` and `job plot --sweep {label}` show the results")
    if stopped_by:
        log_line(f"stopped by {signal.Signals(stopped_by).name}; the same command continues")
        return 128 + stopped_by
    return 0 if all(result.good for result in results) else 1


def log_result(task: Task, result: Result, number: int, of: int) -> None:
    """Log what a combination came to; a good result only if there is no bar that counts it."""
    if result.good and sys.stderr.isatty() and not in_json():
        return
    run = "" if result.run_id is None else f"run {result.run_id}, "
    how = result.status if result.trained or not result.good else "completed before"
    took = f" in {result.seconds:.1f} s" if result.trained else ""
    why = f": {result.why}" if result.why else ""
    log_line(
        f"{number} of {of}: {run}{task}: {how}{took}{why}",
        "sweep_run",
        run=result.run_id,
        seed=task.seed,
        learning_rate=task.learning_rate,
        status=result.status,
        seconds=round(result.seconds, 3),
    )


def worker(
    scheduler: Annotated[
        str, typer.Argument(metavar="SCHEDULER", envvar="JOB_SCHEDULER", help="tcp://host:port")
    ],
    log_format: LogFormat = "text",
) -> int:
    """Train runs of sweeps for a Dask scheduler until stopped, one at a time, with pinned numerics.

    Start one for each core, on any machine that reaches the scheduler and the PostgreSQL store.
    """
    log_line(f"a worker of {scheduler}", "worker_begins")
    number = work(scheduler)
    log_line("the worker has ended", "worker_ends")
    return 128 + number if number else 0
