"""The stop request: an event that SIGINT and SIGTERM set, so that a command ends in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest(threading.Event):
    """Set once the work is to stop."""

    by = "request"
    """who asked for it, the name of a signal"""
    number = 0
    """that signal's number"""

    @property
    def exit_status(self) -> int:
        """The exit status of a command that this request has stopped."""
        return 128 + self.number


@contextmanager
def stopped_by_signals(stop: StopRequest) -> Iterator[None]:
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
