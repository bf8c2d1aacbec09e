"""One run from its start, or from where it stopped, to its end: models, loop, outcome, lease."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from db.errors import LeaseLostError, StoreFailedError
from db.history import History, State
from db.lease import RunWriter
from db.schema import RunRow
from db.specification import Specification
from db.store import Store
from job.dataset import Dataset
from job.errors import RepetitionError
from job.models import REGISTRY, initial_state, make_model
from job.training import Cancelled, Outcome, train


@contextmanager
def stopped_by_signals(stop: Cancelled) -> Iterator[None]:
    """While open, SIGINT and SIGTERM set `stop` and name themselves in it, so that a block is finished.

    A second signal of the same kind does what it always did.
    """

    def handle(number: int, _: FrameType | None) -> None:
        stop.by, stop.number = signal.Signals(number).name, number
        stop.set()
        signal.signal(number, before[number])

    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train_run(
    writer: RunWriter,
    run: RunRow,
    dataset: Dataset,
    states: dict[str, State],
    *,
    report: Callable[[str, History], None],
    stop: Cancelled,
) -> Outcome:
    """Train a run whose lease `writer` holds, each model from its state, and store how it ended.

    Raises StoreFailedError when the database stayed away, and LeaseLostError when another process took
    the run over; in both cases nothing more is written, and what was stored stays.
    """
    models = {name: make_model(name, dataset, run.learning_rate, states[name]) for name in states}
    try:
        outcome = train(writer, models, run.epochs, report=report, stop=stop)
    except (StoreFailedError, LeaseLostError):
        raise
    except KeyboardInterrupt:  # a second SIGINT: this block is given up
        writer.finish("interrupted", "stopped by SIGINT, twice")
        raise
    except BaseException as error:
        writer.finish("failed", f"{type(error).__name__}: {error}")
        raise
    writer.finish(outcome.status, outcome.reason)
    return outcome


def first_states(dataset: Dataset, seed: int) -> dict[str, State]:
    """The common start of all models."""
    start = initial_state(len(dataset.features), seed)
    return dict.fromkeys(REGISTRY, start)


def refuse_repetition(store: Store, same: Specification, environment: dict[str, Any]) -> None:
    """Raise RepetitionError if the newest run of a specification failed and the next one would fail alike.

    Where the environment is the same, so are the bits.
    """
    newest = next(iter(store.runs(same.runs().where(RunRow.trigger == "manual").limit(1))), None)
    if newest is None or not newest.environment.items() >= environment.items():
        return
    verdicts = {each.kind: each.passed for each in store.verdicts(newest.id) if each.kind != "drift"}
    bad = [f"failed its {kind}" for kind, passed in verdicts.items() if not passed]
    if newest.status == "diverged":
        bad.append("diverged")
    if bad:
        raise RepetitionError(
            f"run {newest.id} of these data, settings and environment {' and '.join(bad)}, as another would; "
            "`job train` without --resume trains it all the same"
        )
