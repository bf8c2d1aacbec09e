"""`job train` and `job resume`: from the options to the exit status."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from db.errors import LedgerError, StoreFailedError
from job.cli.mirror import mirroring
from job.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_LOG_DIR,
    MOST_EPOCHS,
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
    Run,
    Seed,
    Target,
    open_store,
)
from job.cli.output import print_line
from job.cli.summary import conclude
from job.log import bind, in_json, record, say

if TYPE_CHECKING:
    from db.lease import RunWriter
    from db.store import Store
    from job.dataset import Dataset
    from job.training import Cancelled


def train(
    context: typer.Context,
    epochs: Epochs = 10_000,
    learning_rate: LearningRate = 0.01,
    seed: Seed = 0,
    data: Data = None,
    target: Target = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Take up the newest unfinished run of the same data and settings, if there is one; "
            "do not repeat one that diverged, or failed its parity, in the same environment.",
        ),
    ] = False,
    log_dir: LogDir = DEFAULT_LOG_DIR,
    no_mirror: NoMirror = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    database_timeout: DatabaseTimeout = 600.0,
    log_format: LogFormatOption = LogFormat.text,
) -> int:
    """Train both models, record every epoch, print the notebook's table and the parity verdict."""
    from job.dataset import DEFAULT_DATA, load

    dataset = load(DEFAULT_DATA if data is None else data, target)

    def obtain(store: Store) -> RunWriter:
        from job.environment import environment

        if resume:
            from db.specification import Specification
            from job.run import refuse_repetition

            same = Specification(dataset.sha256, dataset.target, epochs, learning_rate, seed)
            unfinished = store.newest_unfinished(same, trigger="manual")
            if unfinished is not None:
                return store.resume_run(unfinished.id, environment=environment())
            refuse_repetition(store, same, environment())
        return store.start_run(
            dataset.row(), epochs=epochs, learning_rate=learning_rate, seed=seed, environment=environment()
        )

    return carry_out(context, obtain, dataset, database_url, heartbeat_timeout, database_timeout)


def resume(
    context: typer.Context,
    run: Run,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, max=MOST_EPOCHS, help="Lengthen the run to so many epochs."),
    ] = None,
    data: Data = None,
    log_dir: LogDir = DEFAULT_LOG_DIR,
    no_mirror: NoMirror = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    database_timeout: DatabaseTimeout = 600.0,
    log_format: LogFormatOption = LogFormat.text,
) -> int:
    """Take up a stopped run where its last stored epoch left it, or lengthen a completed one.

    The whole history is then bit for bit that of a run that never stopped.
    """
    from db.errors import StoreError
    from job.dataset import DEFAULT_DATA, split
    from job.table import read_table

    with open_store(database_url, database_timeout=database_timeout) as store:
        found = store.run(run)
    path = DEFAULT_DATA if data is None else data
    table = read_table(path)
    if table.sha256 != found.dataset.sha256:
        raise StoreError(
            f"run {found.id} was trained on {found.dataset.name} (sha256 {found.dataset.sha256[:12]}...), "
            f"which {path} is not; name its file with --data"
        )

    dataset = split(table, found.dataset.target)

    def obtain(store: Store) -> RunWriter:
        from job.environment import environment

        return store.resume_run(found.id, epochs=epochs, environment=environment())

    return carry_out(context, obtain, dataset, database_url, heartbeat_timeout, database_timeout)


def carry_out(
    context: typer.Context,
    obtain: Callable[[Store], RunWriter],
    dataset: Dataset,
    database_url: str,
    heartbeat_timeout: float,
    database_timeout: float,
) -> int:
    """Train the run that `obtain` gives, from wherever it stands, and print how it ended."""
    from job.models import load_models
    from job.run import stopped_by_signals
    from job.training import Cancelled

    stop = Cancelled()
    with open_store(
        database_url,
        create=True,
        heartbeat_timeout=heartbeat_timeout,
        database_timeout=database_timeout,
        stop=stop,
    ) as store:
        store.notice_crashes()
        load_models()  # takes seconds: before the run has a heartbeat, and before signals must wait for us
        with stopped_by_signals(stop):
            try:
                writer = obtain(store)
                return train_to_the_end(context, store, writer, dataset, stop)
            except LedgerError as error:
                if not stop.is_set():
                    raise
                say(f"stopped by {stop.by}: {error}")
                return 128 + stop.number


def train_to_the_end(
    context: typer.Context,
    store: Store,
    writer: RunWriter,
    dataset: Dataset,
    stop: Cancelled,
    *,
    quiet: bool = False,
    fail_on: FailOn = FailOn.drift,
) -> int:
    """Train both models from where the store has them, with progress, and print how it ended.

    If `quiet`, without what only passes the time. `fail_on`: the verdicts that decide the exit status.
    """
    from job.cli.progress import training_progress
    from job.run import first_states, train_run

    tell = record if quiet else say
    begun = time.monotonic()
    bind(run=writer.run_id)
    run = store.run(writer.run_id)
    states = first_states(dataset, run.seed) | store.checkpoints(run.id)
    done = {model: state.epoch for model, state in states.items()}
    begin = f"goes on from epoch {min(done.values()):,}" if run.resumes else "begins"
    tell(
        f"run {run.id} {begin}: {run.epochs:,} epochs, learning rate {run.learning_rate:g}, seed {run.seed}, "
        f"{dataset.name} ({len(dataset.train_x)} training rows, {len(dataset.features)} features)",
        "run_begins",
    )
    with mirroring(context, run.id) as training_is_over:
        try:
            with training_progress(done, run.epochs, quiet) as report:
                outcome = train_run(writer, run, dataset, states, report=report, stop=stop)
        except StoreFailedError:
            say(f"run {run.id} keeps what it has stored; go on with: {resume_command(context, writer)}")
            raise
        seconds = time.monotonic() - begun
        end = f"run {run.id} {outcome.status} after {seconds:.1f} s"
        tell(end, "run_ends", status=outcome.status, seconds=round(seconds, 3))
        if quiet and not in_json():
            print_line(end)
        training_is_over()
        if outcome.status != "interrupted":
            return conclude(store, store.run(run.id), outcome, quiet=quiet, fail_on=fail_on)
    stored = ", ".join(f"{model} {count:,}" for model, count in store.progress(run.id).items())
    say(f"run {run.id} {outcome.reason}; epochs stored: {stored or 'none'}")
    say(f"go on with: {resume_command(context, writer)}")
    return 128 + stop.number


def resume_command(context: typer.Context, writer: RunWriter) -> str:
    """The command that takes the run up again, with the options that it needs besides the settings."""
    words = ["job", "resume", str(writer.run_id)]
    url = writer.store.url.set(drivername=writer.store.url.get_backend_name())
    options = {
        "data": context.params.get("data"),
        "database_url": url.render_as_string(),
        "log_dir": context.params.get("log_dir"),
    }
    for name, value in options.items():
        source = context.get_parameter_source(name)
        if value is not None and source is not None and source.name == "COMMANDLINE":
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)
