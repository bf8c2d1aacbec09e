"""PostgreSQL connections that stop waiting for a hung server, and soon after a stop request.

Keep-alives and TCP_USER_TIMEOUT detect a dead network. Only a time limit detects a hung server on a working
network, or a proxy that swallows what is sent.
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
"""seconds between two checks of the time and of the stop request"""
CANCEL = 1.0
"""seconds that Ctrl-C waits for the server to accept the cancel"""
GivesUp = Callable[[float], bool]
"""whether to stop waiting for a server that last answered at a given time.monotonic()"""


class Connection(psycopg.Connection[Any]):
    """A connection that calls `gives_up` while it waits, and closes once that is true."""

    gives_up: GivesUp
    lost: psycopg.OperationalError | None = None
    """why it was closed; raised again at the end of a COPY"""

    def wait(self, gen: Generator[Any, Any, Any], *_: Any, **__: Any) -> Any:
        """How psycopg waits in every statement, COPY and commit. Raises OperationalError."""
        if self.lost:
            raise self.lost
        try:
            return wait(self._watched(gen), self.pgconn.socket, interval=POLL)
        except KeyboardInterrupt:  # psycopg itself would wait ten seconds for a hung server
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL)
            self.close()
            raise

    def _watched(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The generator of psycopg, ended when `gives_up`. It is sent 0 if nothing arrived within POLL."""
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
    """Like `psycopg.connect`, but in a thread that is abandoned when `gives_up`.

    In the main thread, looking up a host name would block signals. Raises OperationalError.
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
        except InvalidStateError:  # abandoned
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
    """The error for a server that last answered at `heard`."""
    return psycopg.OperationalError(f"no answer for {time.monotonic() - heard:.0f} s")
