"""`job train` and `job resume`: from the options to the exit status."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.errors import LedgerError, StoreFailedError
from job.cli.mirror import mirroring
from job.cli.options import (
    DEFAULT_DATABASE,
    DEFAULT_LOG_DIR,
    DatabaseTimeout,
    DatabaseUrl,
    HeartbeatTimeout,
    LogDir,
    NoMirror,
    Run,
    open_store,
    say,
)
from job.cli.summary import conclude

if TYPE_CHECKING:
    from db.lease import RunWriter
    from db.store import Store
    from job.dataset import Dataset
    from job.training import Cancelled


def finite_positive(value: float) -> float:
    """The learning rate, checked: the models take it as a float32, of which it must not be 0 or infinite."""
    if not FLOAT32_TINY <= value <= FLOAT32_MAX:  # false for NaN too
        raise typer.BadParameter(f"{value:g} is not a finite number above 0 that float32 can hold")
    return value


Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="JOB_DATA",
        help="A CSV file with a header, or the housing table's format. Default: the housing table.",
    ),
]
FLOAT32_TINY, FLOAT32_MAX = 2.0**-149, (2 - 2.0**-23) * 2.0**127
MOST_EPOCHS = 2**31 - 1
"""what the store's integer column holds"""


def train(
    context: typer.Context,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, max=MOST_EPOCHS, envvar="JOB_EPOCHS", help="Epochs to train.")
    ] = 10_000,
    learning_rate: Annotated[
        float,
        typer.Option(
            "--learning-rate",
            callback=finite_positive,
            envvar="JOB_LEARNING_RATE",
            help="Step size, above 0.",
        ),
    ] = 0.01,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=2**32 - 1, envvar="JOB_SEED", help="Seed of the start weights."),
    ] = 0,
    data: Data = None,
    target: Annotated[
        str | None,
        typer.Option("--target", envvar="JOB_TARGET", help="Column to predict. Default: the last."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Take up the newest unfinished run of the same data and settings, if there is one.",
        ),
    ] = False,
    log_dir: LogDir = DEFAULT_LOG_DIR,
    no_mirror: NoMirror = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    database_timeout: DatabaseTimeout = 600.0,
) -> int:
    """Train both models, record every epoch, print the notebook's table and the parity verdict."""
    from job.dataset import DEFAULT_DATA, load

    dataset = load(DEFAULT_DATA if data is None else data, target)

    def obtain(store: Store) -> RunWriter:
        from job.environment import environment

        if resume:
            unfinished = store.newest_unfinished(
                dataset.sha256,
                dataset.target,
                epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                trigger="manual",
            )
            if unfinished is not None:
                return store.resume_run(unfinished.id, environment=environment())
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
    from job.run import load_models, stopped_by_signals
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
    context: typer.Context, store: Store, writer: RunWriter, dataset: Dataset, stop: Cancelled
) -> int:
    """Train both models from where the store has them, with progress, and print how it ended."""
    from job.cli.progress import training_progress
    from job.run import first_states, train_run

    run = store.run(writer.run_id)
    states = first_states(dataset, run.seed) | store.checkpoints(run.id)
    done = {model: state.epoch for model, state in states.items()}
    begin = f"goes on from epoch {min(done.values()):,}" if run.resumes else "begins"
    say(
        f"run {run.id} {begin}: {run.epochs:,} epochs, learning rate {run.learning_rate:g}, seed {run.seed}, "
        f"{dataset.name} ({len(dataset.train_x)} training rows, {len(dataset.features)} features)"
    )
    with mirroring(context, run.id) as training_is_over:
        try:
            with training_progress(done, run.epochs) as report:
                outcome = train_run(writer, run, dataset, states, report=report, stop=stop)
        except StoreFailedError:
            say(f"run {run.id} keeps what it has stored; go on with: {resume_command(context, writer)}")
            raise
        training_is_over()
        if outcome.status != "interrupted":
            return conclude(store, store.run(run.id), outcome)
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
