"""The training loop: advance a model and store its epochs, block by block."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from functools import partial
from typing import Protocol

import numpy as np

from db.digest import BLOCK_EPOCHS
from db.history import History, State
from job.errors import in_a_line
from job.models.base import Model
from job.stop import StopRequest

BLOCK_SECONDS = 0.5
"""With BLOCK_EPOCHS, limits of a block, which is stored in one transaction. A kill loses one block, and a
signal waits for one; half a second leaves a margin for a machine that slows down."""
BLOCK_VALUES = 4_000_000
"""parameter values in a block, which is held in memory several times"""
FIRST_BLOCK = 1
"""epochs in a model's first block, when its speed is not yet known"""


class Writer(Protocol):
    """What the loop appends to, such as `db.lease.RunWriter`."""

    def append(self, model: str, history: History) -> None:
        """Store consecutive epochs of a model."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended: `completed`, `interrupted`, `diverged` or `failed`, and why."""

    status: str
    reason: str | None = None


def train(
    writer: Writer,
    states: Mapping[str, State],
    make: Callable[[str, State], Model],
    epochs: int,
    *,
    on_block: Callable[[str, History], None],
    stop: StopRequest,
) -> Outcome:
    """Train every model from its state up to `epochs` epochs, block by block; the one behind is next.

    `make` gives the model of a name at a state.

    Every block is stored before the next begins. A model stops before its first epoch that is not finite; the
    others continue, so that the stored epochs do not depend on the blocks. If a model raises an exception,
    the others are trained up to the same epoch.
    """
    states = dict(states)
    models: dict[str, Model | None] = {name: make(name, state) for name, state in states.items()}
    size = dict.fromkeys(models, FIRST_BLOCK)
    diverged: dict[str, int] = {}
    failed: list[str] = []

    def behind() -> str | None:
        unfinished = [name for name in models if states[name].epoch < epochs and name not in diverged]
        return min(unfinished, key=lambda name: states[name].epoch, default=None)

    while (name := behind()) is not None:
        if stop.is_set():
            return Outcome("interrupted", f"stopped by {stop.by}")
        begun = states[name].epoch
        count = min(size[name], epochs - begun, BLOCK_EPOCHS - begun % BLOCK_EPOCHS)
        started = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # a divergence is a result, not a warning
            try:
                history = advance(models[name], states[name], count)
            except FailedModelError:
                models[name], history, failure = one_by_one(partial(make, name), states[name], count)
                if failure is not None:
                    epochs = states[name].epoch + len(history)
                    failed.append(f"{name} at epoch {epochs}: {failure}")
        size[name] = min(
            next_size(count, time.perf_counter() - started), 1 + BLOCK_VALUES // len(states[name].parameters)
        )

        finite = history.finite()
        if len(finite) < len(history):
            diverged[name] = int(history.epoch[len(finite)])
        if len(finite):
            states[name] = finite.state
            writer.append(name, finite)
            on_block(name, finite)
    if failed:
        return Outcome("failed", "; ".join(failed))
    if diverged:
        where = ", ".join(f"{name} at epoch {epoch}" for name, epoch in diverged.items())
        return Outcome("diverged", f"not finite any more: {where}")
    return Outcome("completed")


class FailedModelError(Exception):
    """A model raised an exception, or returned something else than the history of the epochs asked for."""


def advance(model: Model | None, state: State, count: int) -> History:
    """The next `count` epochs of a model that is at `state`. Raises FailedModelError, in one line."""
    try:
        with redirect_stdout(sys.stderr):  # stdout has our tables
            assert model is not None  # a model that failed is not asked again
            history = model.advance(count)
    except (Exception, SystemExit) as error:
        raise FailedModelError(in_a_line(error)) from error
    if not isinstance(history, History):
        raise FailedModelError(f"advance({count}) returned {type(history).__name__}, not a History")
    expected = History.empty(count, len(state.parameters), state.epoch)
    for field in fields(History):
        found, like = getattr(history, field.name), getattr(expected, field.name)
        if (found.shape, found.dtype) != (like.shape, like.dtype):
            raise FailedModelError(
                f"advance({count}) returned {field.name} as {found.dtype} {list(found.shape)}, not "
                f"{like.dtype} {list(like.shape)}"
            )
    if not np.array_equal(history.epoch, expected.epoch):
        raise FailedModelError(f"advance({count}) returned epochs that do not count on from {state.epoch}")
    return history


def one_by_one(
    make: Callable[[State], Model], state: State, count: int
) -> tuple[Model | None, History, str | None]:
    """A new model, as many of the next `count` epochs as it can do, and why it cannot do the next one."""
    parts = [History.empty(0, len(state.parameters), state.epoch)]
    model = None
    try:
        try:
            model = make(state)
        except (Exception, SystemExit) as error:
            raise FailedModelError(in_a_line(error)) from error
        for _ in range(count):
            parts.append(advance(model, state, 1))
            state = parts[-1].state
    except FailedModelError as failure:
        return model, History.concatenate(parts), str(failure)
    return model, History.concatenate(parts), None


def next_size(count: int, seconds: float) -> int:
    """Epochs for a model's next block, after one of `count` epochs that took `seconds`."""
    affordable = int(count * BLOCK_SECONDS / max(seconds, 1e-9))
    return max(1, min(affordable, 4 * count, BLOCK_EPOCHS))
