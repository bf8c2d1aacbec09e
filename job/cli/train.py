"""`job train`: a new run of both models, and what it prints."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.errors import LedgerError, StoreFailedError
from job.cli.options import (
    DEFAULT_DATABASE,
    DatabaseTimeout,
    DatabaseUrl,
    HeartbeatTimeout,
    open_store,
    say,
)
from job.cli.output import loss, print_line, print_table, print_verdict

if TYPE_CHECKING:
    from db.schema import RunRow
    from db.store import Store
    from job.training import Outcome


def finite_positive(value: float) -> float:
    """The learning rate, checked: Typer's own minimum lets NaN and infinity through."""
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g} is not a finite number above 0")
    return value


def train(
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, max=2**31 - 1, envvar="JOB_EPOCHS", help="Epochs to train.")
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
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="JOB_DATA",
            help="A CSV file with a header, or the housing table's format. Default: the housing table.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", envvar="JOB_TARGET", help="Column to predict. Default: the last."),
    ] = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    database_timeout: DatabaseTimeout = 600.0,
) -> int:
    """Train both models, record every epoch, print the notebook's table and the parity verdict."""
    from job.cli.progress import training_progress
    from job.dataset import DEFAULT_DATA, load
    from job.training import Cancelled

    dataset = load(DEFAULT_DATA if data is None else data, target)
    stop = Cancelled()
    with open_store(
        database_url,
        create=True,
        heartbeat_timeout=heartbeat_timeout,
        database_timeout=database_timeout,
        stop=stop,
    ) as store:
        store.notice_crashes()
        from job.run import first_states, load_models, stopped_by_signals, train_run

        load_models()  # takes seconds, so before the run's clock starts
        from job.environment import environment

        with stopped_by_signals(stop):
            writer = store.start_run(
                dataset.row(),
                epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                environment=environment(),
            )
            run = store.run(writer.run_id)
            say(
                f"run {run.id}: {epochs:,} epochs, learning rate {learning_rate:g}, seed {seed}, "
                f"{dataset.name} ({len(dataset.train_x)} training rows, {len(dataset.features)} features)"
            )
            states = first_states(dataset, seed)
            try:
                with training_progress(dict.fromkeys(states, 0), epochs) as report:
                    outcome = train_run(writer, run, dataset, states, report=report, stop=stop)
            except StoreFailedError as error:
                raise StoreFailedError(f"{error}; run {run.id} keeps what was stored") from error
        return conclude(store, run, outcome, stop.by)


def conclude(store: Store, run: RunRow, outcome: Outcome, stopped_by: str) -> int:
    """Print what a run came to and give the exit status that says so."""
    if outcome.status == "interrupted":
        done = store.progress(run.id)
        say(f"run {run.id} {outcome.reason}; stored: " + ", ".join(f"{m} {n:,}" for m, n in done.items()))
        return 128 + signal.Signals[stopped_by]
    print_losses(store, run)
    print_parameters(store, run)
    failed = outcome.status == "diverged"
    if failed:
        print_line(f"run {run.id} diverged: {outcome.reason}", style="bold red")
    try:
        from job.verify import verify

        for verdict in verify(store, run=store.run(run.id)):
            print_verdict(verdict)
            failed = failed or not verdict.passed
    except LedgerError as error:
        print_line(str(error))
    return 1 if failed else 0


def print_losses(store: Store, run: RunRow) -> None:
    """Print the notebook's table: every tenth of the run, and its last epoch, of both models."""
    import numpy as np

    from db.history import History

    step = max(1, run.epochs // 10)
    losses: dict[int, dict[str, tuple[float, float]]] = {}
    for model in store.progress(run.id):
        tenths = store.history(run.id, model, step=step)
        last = store.history(run.id, model, first_epoch=run.epochs - 1)
        history = History.concatenate([tenths, last]) if len(last) and len(tenths) else tenths
        for epoch, train_loss, test_loss in zip(
            history.epoch.tolist(), history.train_loss.astype(np.float64), history.test_loss, strict=True
        ):
            losses.setdefault(epoch, {})[model] = (float(train_loss), float(test_loss))
    models = ("paddle", "python")
    nothing = (math.nan, math.nan)
    print_table(
        ["epoch", *(f"{model} {part}" for model in models for part in ("train", "test"))],
        [
            [epoch, *(loss(value) for model in models for value in losses[epoch].get(model, nothing))]
            for epoch in sorted(losses)
        ],
        title=f"Run {run.id}: mean squared error before the epoch's update",
    )


def print_parameters(store: Store, run: RunRow) -> None:
    """Print the last weights and bias of both models by feature name."""
    progress = store.progress(run.id)
    columns = {
        model: store.history(run.id, model, first_epoch=count - 1).state for model, count in progress.items()
    }
    names = [*(feature.name for feature in run.dataset.features), "bias"]
    values = {model: [*state.weights.tolist(), float(state.bias)] for model, state in columns.items()}
    print_table(
        ["parameter", *values],
        [[name, *(f"{values[model][i]:+.9g}" for model in values)] for i, name in enumerate(names)],
        title="\nFinal parameters (of normalised columns)",
    )
    print_line("")
