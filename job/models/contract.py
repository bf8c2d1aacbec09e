"""The contract of a model, tried on one: each clause is a function that says what is broken, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields

import numpy as np

from db.history import History, State, names_of_values
from job.data.dataset import Dataset
from job.errors import in_a_line
from job.models.base import Model, problem_with_names
from job.models.bits import first_unlike
from job.models.trace import epoch_of, has_trace, problem_with_trace, takes_given

LARGE = 1e9
"""A run diverges through values beyond this. Without one before it, a value that is not finite is a fault."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of the contract, and whether a model keeps it."""

    name: str
    passed: bool
    detail: str
    """one line: what is broken and where; empty if nothing is"""


def train(model: type[Model], dataset: Dataset, epochs: int, learning_rate: float, seed: int) -> History:
    """The first `epochs` epochs of a model, from its own start."""
    with np.errstate(over="ignore", invalid="ignore"):
        return model(dataset, learning_rate, seed, model.initial(dataset, seed)).advance(epochs)


def check(
    model: type[Model],
    dataset: Dataset,
    epochs: int = 100,
    learning_rate: float = 0.01,
    seed: int = 0,
    again: Callable[[], History] | None = None,
) -> Iterator[Clause]:
    """Try the clauses on a model, one by one, with at least 10 epochs.

    `again` gives in another process what `train` gives; without it, that clause is left out, and so is that
    of the trace for a model that has none. After a broken clause of the first five, the others cannot be
    judged and are left out. An exception of the model breaks the clause that is being tried.
    """
    trial = Trial(model, deepcopy(dataset), max(epochs, 10), learning_rate, seed, again)
    clauses = [*ESSENTIAL, *OTHERS]
    clauses += [trace_agrees] if has_trace(model) else []
    clauses += [another_process] if again else []
    for judge in clauses:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                broken = judge(trial)
        except (Exception, SystemExit) as error:  # of the model, which may raise anything
            broken = in_a_line(error)
        yield Clause(str(judge.__doc__).rstrip("."), not broken, broken)
        if broken and judge in ESSENTIAL:
            return


@dataclass(slots=True)
class Trial:
    """A model, what it is tried with, and what the clauses before have found."""

    model: type[Model]
    dataset: Dataset
    epochs: int
    learning_rate: float
    seed: int
    again: Callable[[], History] | None
    names: tuple[str, ...] = ()
    start: State = field(init=False)
    whole: History = field(init=False)
    """all epochs, trained in one call from `start`; only those before the first that is not finite"""
    given: State | None = None
    """the state that the newest instance was given"""
    changed: str = ""
    """the first call that has changed what it was given, and what it has changed"""

    @contextmanager
    def watched(self, call: str) -> Iterator[None]:
        """Note if a call changes the dataset or the state that the model was given."""

        def now() -> dict[str, bytes]:
            values = {f"dataset.{f.name}": getattr(self.dataset, f.name) for f in fields(self.dataset)}
            values |= {"state.parameters": self.given.parameters} if self.given else {}
            return {name: value.tobytes() for name, value in values.items() if isinstance(value, np.ndarray)}

        before = now()
        yield
        for name, value in now().items():
            if value != before[name]:
                self.changed = self.changed or f"{call} changes {name}"

    def at(self, state: State, learning_rate: float | None = None) -> Model:
        """A new instance at a copy of a state."""
        self.given = State(state.parameters.copy(), state.epoch)
        with self.watched("__init__"):
            return self.model(self.dataset, learning_rate or self.learning_rate, self.seed, self.given)

    def after(self, row: int) -> State:
        """The state of a row of `whole`; the start for -1."""
        return self.whole[row : row + 1].state if row >= 0 else self.start

    def advance(self, made: Model, epochs: int) -> History:
        """Copies of the next epochs' values."""
        with self.watched("advance"):
            return History.concatenate([made.advance(epochs)])

    def unlike(self, found: History, first: int = 0, last: int | None = None) -> str:
        """The first value of `found` with other bits than in `whole[first:last]`; empty if there is none."""
        expected = self.whole[first:last]
        found = found[: len(expected)]
        if not np.array_equal(found.epoch, expected.epoch):
            return f"gives {numbered(found)}, not {numbered(expected)}"
        unlike = first_unlike(found, expected, self.names)
        return f"epoch {unlike.epoch}: {unlike.described}" if unlike else ""


def numbered(history: History) -> str:
    """The epochs of a history, in a few words."""
    return (
        f"{len(history)} epochs, {history.epoch[0]} to {history.epoch[-1]}" if len(history) else "no epochs"
    )


def names_are_given(trial: Trial) -> str:
    """The parameters have unique names, always the same."""
    with trial.watched("parameter_names"):
        names, again = (trial.model.parameter_names(trial.dataset) for _ in range(2))
    if problem := problem_with_names(names):
        return problem
    trial.names = names
    return "" if again == names else "a second call gives other names"


def start_is_a_state(trial: Trial) -> str:
    """The start has a float32 value for each name, epoch 0, and the same bits for the same seed."""
    with trial.watched("initial"):
        start, again = (trial.model.initial(trial.dataset, trial.seed) for _ in range(2))
    if not isinstance(start, State) or not isinstance(start.parameters, np.ndarray):
        return f"not a State: {start!r:.80}"
    trial.start = start
    if start.parameters.dtype != np.float32 or start.parameters.ndim != 1:
        return f"parameters are {start.parameters.dtype} {list(start.parameters.shape)}, not float32 [p]"
    if len(start.parameters) != len(trial.names):
        return f"{len(start.parameters)} parameters, but {len(trial.names)} names"
    for name, value, other in zip(trial.names, start.parameters, again.parameters, strict=True):
        if not np.isfinite(value):
            return f"{name} is {value!s}"
        if value.tobytes() != other.tobytes():
            return f"{name} is {value!s}, and {other!s} in a second call"
    return "" if start.epoch == 0 else f"epoch is {start.epoch}"


def epochs_are_those_asked_for(trial: Trial) -> str:
    """Exactly the epochs asked for are trained, numbered on from the state's."""
    made = trial.at(trial.start)
    try:
        for count in (trial.epochs - 3, 3):
            expected = range(made.epoch, made.epoch + count)
            history = trial.advance(made, count)
            if history.epoch.tolist() != list(expected):
                return f"advance({count}) from epoch {expected[0]} gives {numbered(history)}"
            if made.epoch != expected[-1] + 1:
                return f"after epoch {expected[-1]}, the attribute epoch is {made.epoch}"
        trial.whole = trial.advance(trial.at(trial.start), trial.epochs)
    except (Exception, SystemExit) as error:
        return raised(trial) or f"advance: {in_a_line(error)}"
    return ""


def raised(trial: Trial) -> str:
    """The exception of the first epoch that raises one; empty if none does when trained one by one."""
    made = trial.at(trial.start)
    for epoch in range(trial.epochs):
        try:
            trial.advance(made, 1)
        except (Exception, SystemExit) as error:
            return f"epoch {epoch}: {in_a_line(error)}"
    return ""


def values_are_float32(trial: Trial) -> str:
    """A history of n epochs has float32 losses [n] and parameters [n, p]."""
    n = trial.epochs
    types = {"epoch": np.int64, "trained_at": np.float64}
    for name in ("epoch", "train_loss", "test_loss", "parameters", "trained_at"):
        shape = (n, len(trial.names)) if name == "parameters" else (n,)
        value, wanted = getattr(trial.whole, name), np.dtype(types.get(name, np.float32))
        if (value.dtype, value.shape) != (wanted, shape):
            return f"{name} is {value.dtype} {list(value.shape)}, not {wanted} {list(shape)}"
    return ""


def inputs_stay(trial: Trial) -> str:
    """The dataset and the state that a model is given stay as they are."""
    return trial.changed


def values_are_finite(trial: Trial) -> str:
    """Every value is finite, until the run diverges."""
    values, columns = trial.whole.values, names_of_values(trial.names)
    trial.whole = trial.whole.finite()
    row = len(trial.whole)
    if row == trial.epochs:
        return ""
    finite = np.isfinite(values[row:])
    column = int(np.argmin(finite[0]))
    what = f"epoch {row}: {columns[column]} is {values[row, column]!s}"
    if finite.all(axis=1).any():
        return f"{what}, but epoch {row + int(np.argmax(finite.all(axis=1)))} is finite again"
    before = values[row - 1] if row else trial.start.parameters
    return "" if np.abs(before).max() > LARGE else f"{what}, though no value before it is beyond {LARGE:g}"


def histories_stay(trial: Trial) -> str:
    """A history does not change after it is returned."""
    made = trial.at(trial.start)
    history = made.advance(3)
    before = history.values
    made.advance(3)
    epochs = np.flatnonzero((history.values.view(np.uint32) != before.view(np.uint32)).any(axis=1))
    return f"advance(3), called again, changes the values of epoch {epochs[0]}" if len(epochs) else ""


def calls_change_nothing(trial: Trial) -> str:
    """Cutting epochs into other calls changes no bit."""
    for calls in ([1] * 10, [trial.epochs // 2]):
        made = trial.at(trial.start)
        parts = [trial.advance(made, count) for count in (*calls, trial.epochs - sum(calls)) if count]
        if broken := trial.unlike(History.concatenate(parts)):
            return f"in calls of {', '.join(map(str, calls))} and the rest: {broken}"
    return ""


def rows_are_whole_states(trial: Trial) -> str:
    """Going on from any stored row, in a new instance, changes no bit."""
    for row in (0, 1, 2, trial.epochs // 3, trial.epochs // 2, trial.epochs - 2):
        if row < len(trial.whole):
            rest = trial.advance(trial.at(trial.after(row)), trial.epochs - row - 1)
            if broken := trial.unlike(rest, row + 1):
                return f"from the row of epoch {row}: {broken}"
    return ""


def losses_are_of_before(trial: Trial) -> str:
    """The losses of an epoch belong to the parameters before its update."""
    rate = 2 * trial.learning_rate
    for row in (-1, trial.epochs // 2):
        if row + 1 < len(trial.whole):
            found = trial.advance(trial.at(trial.after(row), rate), 1)
            found.parameters[:] = trial.whole.parameters[row + 1]
            if broken := trial.unlike(found, row + 1, row + 2):
                return f"with learning rate {rate:g} instead of {trial.learning_rate:g}, {broken}"
    return ""


def instances_are_apart(trial: Trial) -> str:
    """The same seed gives the same bits, beside another instance too."""
    one, other = trial.at(trial.start), trial.at(trial.start)
    parts = [(trial.advance(one, 5), trial.advance(other, 5)) for _ in range(trial.epochs // 5)]
    last = 5 * len(parts)
    found = [trial.unlike(History.concatenate(each), 0, last) for each in zip(*parts, strict=True)]
    return found[0] or found[1]


def trace_agrees(trial: Trial) -> str:
    """The trace gives the values of `advance`, and leaves the model as it is."""
    for row in (-1, 0, trial.epochs // 2):
        if row + 1 >= len(trial.whole):
            continue
        made = trial.at(trial.after(row))
        with trial.watched("trace"):
            values = made.trace()
        if problem := problem_with_trace(values, len(trial.names)):
            return problem
        values = {name: np.array(value) for name, value in values.items()}
        if broken := trial.unlike(epoch_of(values, row + 1), row + 1, row + 2):
            return broken
        if broken := trial.unlike(trial.advance(made, 1), row + 1, row + 2):
            return f"after a trace, {broken}"
        if takes_given(trial.model):
            for name, value in trial.at(trial.after(row)).trace(values).items():
                if np.asarray(value).tobytes() != values[name].tobytes():
                    return f"epoch {row + 1}: given its own values, it has another {name!r}"
    return trial.changed


def another_process(trial: Trial) -> str:
    """The same seed gives the same bits in another process."""
    assert trial.again
    return trial.unlike(trial.again())


Judge = Callable[[Trial], str]
ESSENTIAL: tuple[Judge, ...] = (
    names_are_given,
    start_is_a_state,
    epochs_are_those_asked_for,
    values_are_float32,
    inputs_stay,
)
"""without these, the others cannot be judged"""
OTHERS: tuple[Judge, ...] = (
    values_are_finite,
    histories_stay,
    calls_change_nothing,
    rows_are_whole_states,
    losses_are_of_before,
    instances_are_apart,
)
