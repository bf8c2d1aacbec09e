"""The built-in models: a file each, with the interface of `job.models.base`."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

from db.sources import DEFAULT_MODELS, ModelSource
from job.errors import ModelError
from job.models.base import Model

REGISTRY = {"paddle": "PaddleModel", "python": "PythonModel"}
"""name (and module) of a built-in model to its class"""


def load_models(names: Iterable[str] = DEFAULT_MODELS) -> dict[str, type[Model]]:
    """The classes of these models by name, in this order; their frameworks are imported, which is slow.

    Restores the root logger. Raises ModelError for an unknown name, and if a framework cannot be loaded.
    """
    wanted = tuple(names)
    for name in wanted:
        if name not in REGISTRY:
            raise ModelError(f"there is no model {name!r}; there are {', '.join(REGISTRY)}")
    missing = [name for name in wanted if f"job.models.{name}" not in sys.modules]
    if missing:
        import_models(missing)
    return {name: getattr(sys.modules[f"job.models.{name}"], REGISTRY[name]) for name in wanted}


def sources(names: Iterable[str]) -> tuple[ModelSource, ...]:
    """What a run stores of these models. Raises ModelError if two have one name, and if there is none."""
    found = tuple(ModelSource(name, name) for name in names)
    if len({model.name for model in found}) < len(found) or not found:
        raise ModelError(
            f"a run needs one or more models, each of another name, not {', '.join(names) or 'none'}"
        )
    return found


def import_models(names: Iterable[str]) -> None:
    """Import the modules of built-in models. Raises ModelError if one fails."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    with without_garbage_collection():
        for name in names:
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
