"""The models: a file each, one interface. To add one, add a file and a line in `REGISTRY`."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Protocol

import numpy as np

from db.history import History, State
from job.data.dataset import Dataset
from job.errors import ModelError

REGISTRY = {"paddle": "PaddleModel", "python": "PythonModel"}
"""model name (and module) to class, in the order in which they are trained and shown"""


class Model(Protocol):
    """A linear regression that can be trained epoch by epoch from any state."""

    epoch: int
    """the next epoch to train"""

    def __init__(self, dataset: Dataset, learning_rate: float, state: State) -> None: ...

    def advance(self, epochs: int) -> History:
        """Train the next `epochs` epochs. The bits do not depend on how epochs are split into calls."""


def initial_state(features: int, seed: int) -> State:
    """The initial state of all models: normally distributed weights from the seed, bias 0, epoch 0."""
    weights = np.random.RandomState(seed).randn(features, 1).astype("float32")
    return State(weights[:, 0], np.float32(0), 0)


def make_model(name: str, dataset: Dataset, learning_rate: float, state: State) -> Model:
    """The model of that name, at `state`. Raises KeyError for a name not in the registry."""
    model: type[Model] = getattr(import_module(f"job.models.{name}"), REGISTRY[name])
    return model(dataset, learning_rate, state)


def load_models() -> None:
    """Import every model's framework (slow); restore the root logger. Raises ModelError if one fails."""
    if all(f"job.models.{name}" in sys.modules for name in REGISTRY):
        return
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    with without_garbage_collection():
        for name in REGISTRY:
            interrupted: list[int] = []
            try:
                with noting_sigint(interrupted):
                    import_module(f"job.models.{name}")
            except ImportError as error:
                if interrupted:  # Paddle takes a KeyboardInterrupt for a broken installation
                    raise KeyboardInterrupt from None
                hint = "; Debian has it in the package libgomp1" if "libgomp" in str(error) else ""
                raise ModelError(f"the {name} model cannot be loaded: {error}{hint}") from error
    root.setLevel(level)
    root.handlers[:] = handlers


@contextmanager
def noting_sigint(interrupted: list[int]) -> Iterator[None]:
    """Note a SIGINT in `interrupted` while a framework loads, and raise KeyboardInterrupt as usual."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Exclude the objects made in this context from garbage collection for good.

    A framework has 100,000 lasting objects; scanning them costs 4 % of a run of 10,000 epochs.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
