"""What must hold while frameworks are imported: signals, log levels and the collector stay ours."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def importing() -> Iterator[None]:
    """Import frameworks in this context. Ctrl-C raises KeyboardInterrupt, whatever a framework makes of it.

    The root logger stays as it is, Paddle gets no signal handlers, and the collector never scans what was
    imported: a framework has 100,000 lasting objects, and scanning them costs 4 % of a run of 10,000 epochs.
    """
    had_paddle = "paddle" in sys.modules
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    interrupted: list[int] = []
    gc.disable()
    try:
        with noting_sigint(interrupted), warnings.catch_warnings():
            # Paddle warns that no compiler cache is installed; only authors of extensions need one.
            warnings.filterwarnings("ignore", message="No ccache found")
            yield
        gc.freeze()
    except Exception:
        if interrupted:  # Paddle takes a KeyboardInterrupt for a broken installation
            raise KeyboardInterrupt from None
        raise
    finally:
        gc.enable()
        root.setLevel(level)
        root.handlers[:] = handlers
        if "paddle" in sys.modules and not had_paddle:
            # Else SIGTERM prints Paddle's own dump. Only now, since this removes our handlers too.
            getattr(sys.modules["paddle"], "disable_signal_handler", lambda: None)()


@contextmanager
def noting_sigint(interrupted: list[int]) -> Iterator[None]:
    """Note a SIGINT in `interrupted`, and raise KeyboardInterrupt as usual."""
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
