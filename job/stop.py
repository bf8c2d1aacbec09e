"""The stop request: an event that SIGINT and SIGTERM set, so that a command can end cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest(threading.Event):
    """An event that is set when the work must stop."""

    by = "request"
    """what requested the stop, usually a signal's name"""
    number = 0
    """the signal's number"""

    @property
    def exit_status(self) -> int:
        """The exit status of a command that this request has stopped."""
        return 128 + self.number


@contextmanager
def stopped_by_signals(stop: StopRequest, *, interrupt: bool = False) -> Iterator[None]:
    """In this context SIGINT and SIGTERM set `stop` and record the signal in it; the block is finished.

    If `interrupt`, they also raise KeyboardInterrupt, for work that may be broken off anywhere. A second
    signal of the same kind has its previous effect.
    """

    def handle(number: int, _: FrameType | None) -> None:
        stop.by, stop.number = signal.Signals(number).name, number
        stop.set()
        signal.signal(number, before[number])
        if interrupt:
            raise KeyboardInterrupt

    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
