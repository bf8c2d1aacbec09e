"""A run that can be replayed: its data and models, and the state before each of its epochs."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.epochs import what_is_left
from db.errors import CorruptedError, StoreError
from db.history import History, State
from db.schema import RunRow
from db.store import Store
from job.data.dataset import Dataset
from job.data.source import required_source
from job.errors import ModelError, in_a_line
from job.models.base import Model
from job.models.loading import load_models
from job.models.reference import reference_of, require_unchanged
from job.models.trace import Trace, problem_with_trace
from job.training import naming_model, parameter_names
from job.training.loop import FailedModelError, advance


@dataclass(frozen=True, slots=True)
class Replay:
    """A run, and what its epochs are replayed with."""

    store: Store
    run: RunRow
    dataset: Dataset
    models: dict[str, type[Model]]
    """in the run's order"""

    def start(self) -> State:
        """The state before epoch 0: the first model's start from the run's seed. Raises ModelError."""
        name, model = next(iter(self.models.items()))
        with naming_model(name):
            return model.initial(self.dataset, self.run.seed)

    def history(self, name: str, first: int, last: int) -> History:
        """Stored epochs of a model, `first` to `last`. Raises CorruptedError if they cannot be read."""
        found, count = self.store.history(self.run.id, name, first, last), len(self.run.parameter_names)
        if len(found) and found.parameters.shape[1] != count:
            raise CorruptedError(
                f"run {self.run.id}, {name}: a value in the store is corrupted: epoch {found.epoch[0]}: "
                f"{found.parameters.shape[1]} parameters instead of {count}"
            )
        return found

    def stored(self, name: str, epoch: int) -> History:
        """The row of an epoch of a model. Raises StoreError if it is not stored."""
        found = self.history(name, epoch, epoch)
        if len(found):
            return found
        why = f"; the run is {what_is_left(self.run)}" if not self.run.whole else ""
        raise StoreError(f"run {self.run.id}: epoch {epoch} of {name} is not stored{why}")

    def before(self, name: str, epoch: int) -> State:
        """The state of a model before an epoch. Raises StoreError if the row before is not stored."""
        return self.stored(name, epoch - 1).state if epoch else self.start()

    def at(self, name: str, state: State) -> Model:
        """A new instance of a model at a state. Raises ModelError."""
        with naming_model(name), redirect_stdout(sys.stderr):
            return self.models[name](self.dataset, self.run.learning_rate, self.run.seed, state)

    def advance(self, name: str, state: State, epochs: int) -> History:
        """The next epochs of a model after a state. Raises ModelError."""
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                return advance(self.at(name, state), state, epochs).as_stored()
            except FailedModelError as error:
                raise ModelError(
                    f"the model {name} cannot be replayed from epoch {state.epoch}: {error}"
                ) from error

    def trace(self, name: str, state: State, given: Trace | None = None) -> dict[str, NDArray[Any]]:
        """The trace of a model that has one, after a state. Raises ModelError.

        `given` are the values of another trace in the shapes of this model's.
        """
        made = self.at(name, state)
        try:
            with redirect_stdout(sys.stderr), np.errstate(over="ignore", invalid="ignore"):
                values = made.trace() if given is None else made.trace(given)
        except (Exception, SystemExit) as error:  # of the model, which may raise anything
            raise ModelError(
                f"the trace of {name} for epoch {state.epoch} fails: {in_a_line(error)}"
            ) from error
        if problem := problem_with_trace(values, len(state.parameters)):
            raise ModelError(f"the trace of {name} for epoch {state.epoch}: {problem}")
        return {key: np.array(value) for key, value in values.items()}


def prepare(store: Store, run: RunRow, data: Path | None = None) -> Replay:
    """Find the data of a run and load its models.

    Raises DataError if the data file is not found, or `data` is another one; ModelError if a model cannot be
    loaded, if its file has changed, or if its parameters are not the run's.
    """
    dataset = required_source(run, data)
    require_unchanged(run, "its epochs can only be replayed with the file as it was")
    models = load_models([reference_of(model) for model in run.models])
    names = parameter_names(models, dataset)
    for i, (stored, now) in enumerate(zip_longest(run.parameter_names, names)):
        if stored != now:
            raise ModelError(
                f"run {run.id}: parameter {i + 1} is {stored or 'missing'} in the store, and "
                f"{now or 'missing'} in the models with target {dataset.target}; "
                "the store or the models were changed"
            )
    return Replay(store, run, dataset, models)
