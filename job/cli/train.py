"""`job train` and `job resume`: from the options to the exit status."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from db.engine import parse_url, shown
from db.errors import LedgerError, StoreFailedError
from db.lease import RunWriter
from db.store import Store
from job.cli.options import (
    MOST_EPOCHS,
    LogFormat,
    Mirroring,
    Run,
    RunData,
    StoreAccess,
    Tolerance,
    Training,
    command,
    open_store,
)
from job.cli.output import print_line
from job.cli.progress import training_progress
from job.cli.summary import print_conclusion
from job.cli.table_options import ReadingOptions
from job.data.dataset import Dataset
from job.data.source import required_source
from job.log import bind, in_json, log_event, log_line
from job.mirror.process import CATCH_UP, FAREWELL, MirrorProcess
from job.models.loading import load_models
from job.models.reference import reference_of, require_unchanged
from job.stop import StopRequest, stopped_by_signals
from job.training import require_models, start, start_or_resume, train_and_judge
from job.training import resume as take_up
from job.verdicts.fail_on import FailOn


@dataclass(frozen=True, slots=True)
class Output:
    """Where a training is shown besides the store, and how it is judged."""

    mirroring: Mirroring
    database_url: str
    tolerance: float | None = None
    """parity's; None takes the one for the table's rows"""
    resume_options: Sequence[str] = ()
    """the words that `job resume RUN` needs besides the settings"""
    quiet: bool = False
    """omit progress output and tables"""
    fail_on: FailOn = FailOn.drift


@command
def train(
    context: typer.Context,
    *,
    training: Training,
    reading: ReadingOptions,
    tolerance: Tolerance = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume the newest unfinished run of the same data and settings, if there is one; do not "
            "repeat one that diverged, or failed its parity, in the same environment.",
        ),
    ] = False,
    mirroring: Mirroring,
    access: StoreAccess,
    log_format: LogFormat = "text",
) -> int:
    """Train the models, record every epoch, print the notebook's table and the parity verdict."""
    settings = training.settings(reading)
    # Before the store is made.
    require_models(settings.models, settings.dataset, settings.learning_rate, settings.seed)
    obtain = partial(start_or_resume if resume else start, settings=settings)
    output = Output(mirroring, access.database_url, tolerance, resume_options(context))
    return train_until_stopped(obtain, settings.dataset, access, output)


@command
def resume(
    context: typer.Context,
    *,
    run: Run,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=MOST_EPOCHS, help="Lengthen the run to N epochs.")
    ] = None,
    data: RunData = None,
    changed_model: Annotated[
        bool, typer.Option("--changed-model", help="Resume though a model's file has changed.")
    ] = False,
    tolerance: Tolerance = None,
    mirroring: Mirroring,
    access: StoreAccess,
    log_format: LogFormat = "text",
) -> int:
    """Resume a stopped run, or lengthen a completed one; its bits are those of a run that never stopped."""
    with open_store(
        access.database_url, database_timeout=access.database_timeout, answer_timeout=None
    ) as store:
        found = store.run(run)
    dataset = required_source(found, data)
    if not changed_model:
        require_unchanged(found)
    obtain = partial(take_up, run_id=found.id, dataset=dataset, epochs=epochs, changed_model=changed_model)
    output = Output(mirroring, access.database_url, tolerance, resume_options(context))
    load_models([reference_of(model) for model in found.models])  # Paddle sets signal handlers: before ours
    return train_until_stopped(obtain, dataset, access, output)


def resume_options(context: typer.Context) -> list[str]:
    """The options of the command line that `job resume` needs again."""
    values = context.params | {"database_url": shown(parse_url(context.params["database_url"]))}
    words = []
    for name in ("data", "database_url", "log_dir", "tolerance"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            words += [f"--{name.replace('_', '-')}", str(values[name])]
    return words


def train_until_stopped(
    obtain: Callable[[Store], RunWriter], dataset: Dataset, access: StoreAccess, output: Output
) -> int:
    """Train the run that `obtain` gives, whose models are loaded; a signal ends it in good order.

    Returns the exit status.
    """
    stop = StopRequest()
    with access.open(stop) as store, stopped_by_signals(stop):
        try:
            return train_and_print(obtain(store), dataset, stop, output)
        except LedgerError as error:
            if not stop.is_set():
                raise
            log_line(f"stopped by {stop.by}: {error}")
            return stop.exit_status


def train_and_print(writer: RunWriter, dataset: Dataset, stop: StopRequest, output: Output) -> int:
    """Train a run with progress and a mirror, print how it ended, and give the exit status."""
    store = writer.store
    log = log_event if output.quiet else log_line
    begun = time.monotonic()
    bind(run=writer.run_id)
    run = store.run(writer.run_id)
    done = dict.fromkeys((model.name for model in run.models), 0) | store.progress(run.id)
    begin = f"resumes at epoch {min(done.values()):,}" if run.resumes else "begins"
    log(
        f"run {run.id} {begin}: {run.epochs:,} epochs, learning rate {run.learning_rate:g}, seed {run.seed}, "
        f"{dataset.name} ({len(dataset.train_x)} training rows, {len(dataset.features)} features)",
        "run_begins",
    )
    command = shlex.join(["job", "resume", str(run.id), *output.resume_options])
    with mirror_beside(run.id, output.database_url, output.mirroring) as training_is_over:
        try:
            with training_progress(done, run.epochs, output.quiet) as on_progress:
                conclusion = train_and_judge(writer, dataset, on_progress, stop, output.tolerance)
        except (StoreFailedError, KeyboardInterrupt):  # the latter: a second Ctrl-C
            log_line(f"run {run.id} keeps what it has stored; go on with: {command}")
            raise
        training_is_over()
        status = conclusion.outcome.status
        seconds = time.monotonic() - begun
        end = f"run {run.id} {status} after {seconds:.1f} s"
        log(end, "run_ends", status=status, seconds=round(seconds, 3))
        if output.quiet and not in_json():
            print_line(end)
        if status == "failed":
            log_line(f"once the model works, go on with: {command}")
        if status != "interrupted":
            return print_conclusion(store, store.run(run.id), conclusion, output, dataset)
        stored = ", ".join(f"{model} {count:,}" for model, count in store.progress(run.id).items())
        log_line(f"run {run.id} {conclusion.outcome.reason}; epochs stored: {stored or 'none'}")
        log_line(f"go on with: {command}")
    return stop.exit_status


@contextmanager
def mirror_beside(run_id: int, database_url: str, mirroring: Mirroring) -> Iterator[Callable[[], None]]:
    """While open, a process of its own mirrors the run; afterwards it is waited for, for a while.

    Gives a function to call once the training is over, so that there is little to wait for. Mirror failures
    are logged and never affect the training.
    """
    if mirroring.no_mirror:
        yield lambda: None
        return
    try:
        process = MirrorProcess(run_id, database_url, mirroring.log_dir)
    except OSError as error:
        log_line(f"the mirror cannot be started; training continues without it: {error}")
        yield lambda: None
        return
    patience = CATCH_UP
    try:
        yield process.training_is_over
    except (StoreFailedError, KeyboardInterrupt):  # it may hang likewise, or nobody wants to wait
        patience = FAREWELL
        process.process.terminate()  # it draws for a few seconds more, unless the database hangs
        raise
    finally:
        status = process.finish(patience)
        if status is None:
            log_line(f"the VisualDL logs of run {run_id} are not complete yet; the mirror continues")
        elif status != 0:
            log_line(f"the mirror ended early (status {status}); `job mirror {run_id}` draws the run again")
