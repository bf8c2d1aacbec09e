"""PostgreSQL connections whose waits end: where the server hangs, and soon after the process is told to stop.

Keep-alives and TCP_USER_TIMEOUT find a dead network. A server that stands still behind a living one, or a
proxy that swallows what it is sent, is found only by the clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.waiting import wait

POLL = 0.1
"""seconds between two looks at the clock, and at whether to stop"""
CANCEL = 1.0
"""seconds that a Ctrl-C waits for the server to hear of it"""
GivesUp = Callable[[float], bool]
"""whether to wait no longer for a server that was last heard at a time by time.monotonic()"""


class Connection(psycopg.Connection[Any]):
    """A connection that asks `gives_up` while it waits, and is closed once told to."""

    gives_up: GivesUp
    lost: psycopg.OperationalError | None = None
    """why it was closed; the end of a COPY asks again"""

    def wait(self, gen: Generator[Any, Any, Any], *_: Any, **__: Any) -> Any:
        """What psycopg waits with, for every statement, COPY and commit. Raises OperationalError."""
        if self.lost:
            raise self.lost
        try:
            return wait(self._watched(gen), self.pgconn.socket, interval=POLL)
        except KeyboardInterrupt:  # psycopg itself would wait ten seconds for a server that hangs
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL)
            self.close()
            raise

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The same generator of psycopg's, ended when `gives_up`. It is sent 0 where POLL brought nothing."""
        ready, heard = None, time.monotonic()
        while True:
            try:
                state = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield state
            if ready:
                heard = time.monotonic()
            elif self.gives_up(heard):
                self.close()
                self.lost = no_answer(heard)
                raise self.lost


def connect(gives_up: GivesUp, *arguments: Any, **parameters: Any) -> Connection:
    """A connection as `psycopg.connect` makes it, made in a thread that is left alone when `gives_up`.

    No signal would be heard while the system looks up a host's name. Raises OperationalError.
    """
    future: Future[Connection] = Future()

    def make() -> None:
        try:
            made = Connection.connect(*arguments, **parameters)
        except BaseException as error:
            with suppress(InvalidStateError):
                future.set_exception(error)
            return
        try:
            future.set_result(made)
        except InvalidStateError:  # nobody waits any more
            made.close()

    threading.Thread(target=make, daemon=True).start()
    begun = time.monotonic()
    try:
        while True:
            with suppress(TimeoutError):
                connection = future.result(POLL)
                connection.gives_up = gives_up
                return connection
            if gives_up(begun):
                raise no_answer(begun)
    finally:
        future.cancel()


def no_answer(heard: float) -> psycopg.OperationalError:
    """The error for a server that was last heard at that time."""
    return psycopg.OperationalError(f"no answer for {time.monotonic() - heard:.0f} s")
