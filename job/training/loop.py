"""The training loop: advance a model and store its epochs, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from db.history import History
from job.models.base import Model
from job.stop import StopRequest

BLOCK_EPOCHS = 2000
BLOCK_SECONDS = 0.5
"""Limits of a block, which is stored in one transaction. A kill loses one block, and a signal waits for one;
half a second leaves a margin for a machine that slows down."""
FIRST_BLOCK = 1
"""epochs in a model's first block, when its speed is not yet known"""


class Writer(Protocol):
    """What the loop appends to, such as `db.lease.RunWriter`."""

    def append(self, model: str, history: History) -> None:
        """Store consecutive epochs of a model."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended: `completed`, `interrupted` or `diverged`, and why."""

    status: str
    reason: str | None = None


def train(
    writer: Writer,
    models: Mapping[str, Model],
    epochs: int,
    *,
    report: Callable[[str, History], None],
    stop: StopRequest,
) -> Outcome:
    """Train every model up to `epochs` epochs, block by block; the model with the fewest epochs is next.

    Every block is stored before the next begins. A model stops before its first epoch that is not finite; the
    others continue, so that the stored epochs do not depend on the blocks.
    """
    size = dict.fromkeys(models, FIRST_BLOCK)
    diverged: dict[str, int] = {}

    def behind() -> str | None:
        unfinished = [name for name in models if models[name].epoch < epochs and name not in diverged]
        return min(unfinished, key=lambda name: models[name].epoch, default=None)

    while (name := behind()) is not None:
        if stop.is_set():
            return Outcome("interrupted", f"stopped by {stop.by}")
        count = min(size[name], epochs - models[name].epoch)
        started = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # a divergence is a result, not a warning
            history = models[name].advance(count)
        size[name] = next_size(count, time.perf_counter() - started)

        finite = history.finite()
        if len(finite) < count:
            diverged[name] = int(history.epoch[len(finite)])
        if len(finite):
            writer.append(name, finite)
            report(name, finite)
    if diverged:
        where = ", ".join(f"{name} at epoch {epoch}" for name, epoch in diverged.items())
        return Outcome("diverged", f"not finite any more: {where}")
    return Outcome("completed")


def next_size(count: int, seconds: float) -> int:
    """Epochs for a model's next block, after one of `count` epochs that took `seconds`."""
    affordable = int(count * BLOCK_SECONDS / max(seconds, 1e-9))
    return max(1, min(affordable, 4 * count, BLOCK_EPOCHS))
