"""The training API: start or resume a run, train it, judge it.

    store = Store("sqlite:///results/ledger.db", create=True)
    settings = Settings(load(DEFAULT_DATA), epochs=2000)
    conclusion = train_and_judge(start_or_resume(store, settings), settings.dataset)

The commands, the sweep and the schedule use the same three calls. In your own program, call `job.pins.pin()`
before anything loads NumPy.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from db.errors import LeaseLostError, StoreError, StoreFailedError
from db.history import History
from db.integrity import first_fault
from db.lease import RunWriter
from db.model_source import DEFAULT_MODELS
from db.schema import RunRow, VerdictRow
from db.specification import Specification
from db.store import Store
from job.data.dataset import Dataset
from job.environment import environment
from job.errors import ModelError, RepetitionError, in_a_line
from job.models.base import Model, problem_with_names
from job.models.loading import load_models
from job.models.reference import reference_of, require_unchanged, sources
from job.stop import StopRequest
from job.training.loop import Outcome, train
from job.verdicts.baseline import judge_baseline
from job.verdicts.drift import judge_drift
from job.verdicts.verify import verify


@dataclass(frozen=True, slots=True)
class Settings:
    """A run's data and settings, and the scheduled run or sweep that it belongs to."""

    dataset: Dataset
    epochs: int = 10_000
    learning_rate: float = 0.01
    seed: int = 0
    """of the initial parameters"""
    models: tuple[str, ...] = DEFAULT_MODELS
    """their references; the first gives the parameters' names and start, the others are compared with it"""
    trigger: str = "manual"
    """`manual`, `nightly` or `sweep`"""
    scheduled_run: int | None = None
    """the scheduled run's id in the store, if it has one"""
    sweep: str | None = None
    """name of the run's sweep, if it has one"""

    @property
    def specification(self) -> Specification:
        """What decides the run's bits."""
        data = self.dataset
        models = sources(self.models)
        reading = data.reading.stored
        return Specification(
            data.sha256, data.target, self.epochs, self.learning_rate, self.seed, models, reading
        )


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A training's outcome and its verdicts; there are none unless it completed."""

    outcome: Outcome
    verdicts: Sequence[VerdictRow] = ()


def start(store: Store, settings: Settings) -> RunWriter:
    """Start a new run; return its writer, which holds the run's lease.

    Raises ModelError if a model cannot be loaded or the models' parameters differ, and LeaseHeldError as
    `Store.start_run` does.
    """
    specification = settings.specification
    parameters = require_models(  # takes seconds, so before the heartbeat starts
        settings.models, settings.dataset, settings.learning_rate, settings.seed
    )
    return store.start_run(
        settings.dataset.row(),
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        environment=environment(specification.models),
        trigger=settings.trigger,
        scheduled_run=settings.scheduled_run,
        sweep=settings.sweep,
        models=specification.models,
        parameters=parameters,
    )


def require_models(
    references: Sequence[str], dataset: Dataset, learning_rate: float, seed: int
) -> tuple[str, ...]:
    """The names of the parameters that a run of these models has; every model is made once at its start.

    Raises ModelError as `start` does, or if there is no start, or a model cannot be made at it.
    """
    models = load_models(references)
    names = parameter_names(models, dataset)
    (first, model) = next(iter(models.items()))
    with naming_model(first):
        state = model.initial(dataset, seed)
        found = state.parameters
        if found.dtype != np.float32 or found.shape != (len(names),) or state.epoch != 0:
            raise ValueError(
                f"its start is {found.dtype} {list(found.shape)} at epoch {state.epoch}, not float32 "
                f"[{len(names)}] at epoch 0"
            )
    for name, model in models.items():
        with naming_model(name):
            model(dataset, learning_rate, seed, state)
    return names


def parameter_names(models: Mapping[str, type[Model]], dataset: Dataset) -> tuple[str, ...]:
    """The names of the models' parameters. Raises ModelError if they differ, or if two are the same."""
    names = {}
    for name, model in models.items():
        with naming_model(name):
            names[name] = model.parameter_names(dataset)
            if problem := problem_with_names(names[name]):
                raise ValueError(f"the names of its parameters: {problem}")
    first = next(iter(names))
    for name, own in names.items():
        if own != names[first]:
            here, there = next((a, b) for a, b in zip_longest(names[first], own) if a != b)
            raise ModelError(
                f"the models {first} and {name} have other parameters, so they cannot be compared: "
                f"{len(names[first])} and {len(own)}, and the first that differ are {here!r} and {there!r}"
            )
    return names[first]


@contextmanager
def naming_model(name: str) -> Iterator[None]:
    """Raise ModelError, with the model's name, for any exception in this context."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ModelError(f"the model {name} cannot begin: {in_a_line(error)}") from error


def resume(
    store: Store, run_id: int, dataset: Dataset, epochs: int | None = None, changed_model: bool = False
) -> RunWriter:
    """Resume a stopped run after its last stored epoch; return its writer. `epochs` extends the run.

    Raises ModelError as `start` does, and if a model's file has changed since the run began, unless
    `changed_model`; StoreError as `Store.resume_run` does, and if the history is not as it was written.
    """
    run = store.run(run_id)
    if not changed_model:
        require_unchanged(run)
    references = [reference_of(model) for model in run.models]
    names = require_models(references, dataset, run.learning_rate, run.seed)
    if list(names) != run.parameter_names:
        raise ModelError(f"the models of run {run_id} have other parameters now than the run has")
    if run.whole and (fault := first_fault(store, run)):
        raise StoreError(
            f"run {run_id} cannot be resumed: its history is not as it was written: {fault.detail}; "
            "`job train` without --resume begins a new run"
        )
    return store.resume_run(run_id, epochs=epochs, environment=environment(sources(references)))


def start_or_resume(store: Store, settings: Settings) -> RunWriter:
    """Resume the newest unfinished run of these settings, or start a new run; return the writer.

    Raises RepetitionError if the newest manual run of these settings failed and a new one would fail too.
    """
    unfinished = store.newest_unfinished(
        settings.specification, trigger=settings.trigger, sweep=settings.sweep
    )
    if unfinished is not None:
        return resume(store, unfinished.id, settings.dataset)
    if settings.trigger == "manual":
        refuse_repetition(store, settings.specification)
    return start(store, settings)


def refuse_repetition(store: Store, same: Specification) -> None:
    """Raise RepetitionError as `start_or_resume` does; the same environment gives the same bits."""
    newest = store.first(same.runs().where(RunRow.trigger == "manual"))
    if newest is None or not newest.environment.items() >= environment(same.models).items():
        return
    verdicts = {
        (each.kind, each.model): each.passed
        for each in store.verdicts(newest.id)
        if each.kind in ("parity", "reference", "exact")
    }
    bad = [
        f"failed its {kind}" for kind in dict.fromkeys(kind for (kind, _), ok in verdicts.items() if not ok)
    ]
    if newest.status == "diverged":
        bad.append("diverged")
    if bad:
        raise RepetitionError(
            f"run {newest.id} of these data, settings and environment {' and '.join(bad)}, as another would; "
            "`job train` without --resume trains it all the same"
        )


def train_and_judge(
    writer: RunWriter,
    dataset: Dataset,
    on_block: Callable[[str, History], None] = lambda model, history: None,
    stop: StopRequest | None = None,
    tolerance: float | None = None,
) -> Conclusion:
    """Train a run to its end, or until `stop` is set; store the outcome and the verdicts.

    `on_block` is called with a model's name and its new epochs after each stored block. `tolerance` is for
    parity; None computes it from the dataset. A scheduled run is also compared with others, as in `judge`.

    Raises StoreFailedError if the database stayed unreachable, and LeaseLostError if another process took
    over the run; stored epochs are kept.
    """
    store = writer.store
    outcome = train_run(writer, dataset, on_block, stop or StopRequest())
    if outcome.status != "completed":
        # Divergence amplifies rounding differences, so there is no parity to judge.
        return Conclusion(outcome)
    return Conclusion(outcome, judge(store, store.run(writer.run_id), tolerance, dataset))


def judge(
    store: Store, run: RunRow, tolerance: float | None = None, dataset: Dataset | None = None
) -> list[VerdictRow]:
    """Judge a completed run and store the verdicts of `verify`, and of a scheduled one drift and baseline."""
    verdicts = verify(store, run, tolerance, dataset)
    if run.trigger == "nightly":
        verdicts += filter(None, (judge_drift(store, run), judge_baseline(store, run)))
    return verdicts


def train_run(
    writer: RunWriter, dataset: Dataset, on_block: Callable[[str, History], None], stop: StopRequest
) -> Outcome:
    """Train each model from its last stored epoch; store the outcome. Raises as `train_and_judge` does."""
    run = writer.store.run(writer.run_id)
    classes = load_models([reference_of(model) for model in run.models])
    try:
        with writer.beating():
            states = writer.store.checkpoints(run.id)
            if states.keys() != classes.keys():
                first, model = next(iter(classes.items()))
                with naming_model(first):
                    states = dict.fromkeys(classes, model.initial(dataset, run.seed)) | states
            outcome = train(
                writer,
                states,
                lambda name, state: classes[name](dataset, run.learning_rate, run.seed, state),
                run.epochs,
                on_block=on_block,
                stop=stop,
            )
    except (StoreFailedError, LeaseLostError):
        raise
    except KeyboardInterrupt as pressed:  # a second SIGINT discards the current block
        # It may have cut off a transaction, which what it has left behind would keep open.
        for each in filter(None, (pressed, pressed.__context__)):
            traceback.clear_frames(each.__traceback__)
        gc.collect()
        writer.finish("interrupted", "stopped by SIGINT, twice")
        raise
    except BaseException as error:
        writer.finish("failed", f"{type(error).__name__}: {error}")
        raise
    writer.finish(outcome.status, outcome.reason)
    return outcome
