"""Retries work on an unreachable database, so that its absence does not end the run."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from db.engine import error_line, is_transient
from db.errors import CorruptedError, StoreError, StoreFailedError

Result = TypeVar("Result")
PATIENCE = 2.0
"""seconds of waiting that are not logged: a busy SQLite file is normal"""
LONGEST_PAUSE = 10.0
"""most seconds between two attempts"""
LONG = 10.0
"""seconds after which a missing answer is logged; a statement may take a while"""
GRACE = 1.5
"""seconds in which a database may still answer after `stop` is set"""
PERMANENT = {
    "attempt to write a readonly database": (StoreError, "the database is read only"),
    "unable to open database file": (StoreError, "the database file cannot be opened"),
    "file is not a database": (StoreError, "the file is not a SQLite database"),
    "database disk image is malformed": (CorruptedError, "the database file is corrupted"),
    "malformed database schema": (CorruptedError, "the database file is corrupted"),
    "Could not decode to UTF-8": (CorruptedError, "the database file is corrupted"),
    "invalid page in block": (CorruptedError, "a page of the database is corrupted"),
    "database or disk is full": (StoreFailedError, "the disk is full"),
}
"""texts of SQLite's and PostgreSQL's errors, and what is raised for them"""


class _Deadline(threading.local):
    """The time.monotonic() at which a thread's database work ends, with or without an answer."""

    at = math.inf


class RetryPolicy:
    """Retries database work on transient errors, with growing pauses, for up to `limit` seconds.

    `stop` ends the waiting early. `log_line` is called once when it waits and once when that is over.
    `answer_timeout`: seconds that a server may take to answer, by default `limit`.
    """

    def __init__(
        self,
        url: URL,
        limit: float,
        stop: threading.Event | None,
        log_line: Callable[[str], None],
        answer_timeout: float | None = None,
    ) -> None:
        self.url = url
        self.limit = limit
        self.stop = stop or threading.Event()
        self.log_line = log_line
        self.answer_timeout = max(limit if answer_timeout is None else answer_timeout, GRACE)
        self._grace = GRACE
        self._deadline = _Deadline()
        self._announced = False

    def gives_up(self, heard: float) -> bool:
        """Whether to stop waiting for a server that last answered at `heard` (time.monotonic())."""
        now = time.monotonic()
        unanswered = now - heard
        if self.stop.is_set() and unanswered > self._grace:
            self._grace = 0.0  # one grace period for all remaining work
            return True
        if unanswered > LONG:
            self._announce(self.answer_timeout, f"no answer for {unanswered:.0f} s")
        return unanswered > self.answer_timeout or now > self._deadline.at

    def __call__(self, work: Callable[[int], Result]) -> Result:
        """The result of `work(attempt)`, attempts counted from 1.

        Raises StoreFailedError once the limit has passed, or GRACE if `stop` is set, and StoreError or
        StoreFailedError at once for a permanent error.
        """
        self._announced = False
        started = time.monotonic()
        attempt = 1
        try:
            while True:
                try:
                    result = work(attempt)
                except DBAPIError as error:
                    self._pause(error, attempt, started)
                    attempt += 1
                else:
                    break
        finally:
            self._deadline.at = math.inf
        if self._announced:
            self.log_line(f"the database is back after {time.monotonic() - started:.0f} s")
        return result

    def _pause(self, error: DBAPIError, attempt: int, started: float) -> None:
        """Pause after a failed attempt. Raises as `__call__` does if there is to be no other.

        The limit counts from `started`, when the first attempt began: that one may have taken long.
        """
        waited = time.monotonic() - started
        limit = min(GRACE, self.limit) if self.stop.is_set() else self.limit
        if waited >= limit or not is_transient(error):
            raise self._explained(error, waited) from error
        growing = min(0.1 * 2 ** min(attempt, 7), LONGEST_PAUSE)
        # Random, so that processes that failed together do not all come back together.
        seconds = min(random.uniform(0, growing), self.limit - waited)  # noqa: S311
        if waited + seconds >= PATIENCE:
            self._announce(self.limit, error_line(error, self.url))
        self._deadline.at = started + self.limit
        if self.stop.wait(seconds):
            time.sleep(0.1)

    def _announce(self, limit: float, reason: str) -> None:
        if not self._announced:
            self._announced = True
            self.log_line(f"waiting up to {limit:.0f} s for the database: {reason}")

    def _explained(self, error: DBAPIError, waited: float) -> StoreError:
        reason = error_line(error, self.url)
        for said, (kind, meaning) in PERMANENT.items():
            if said in reason:
                return kind(f"{meaning}: {self.url.database}")
        if not is_transient(error):
            return StoreFailedError(f"the database refused: {reason}")
        if self.stop.is_set():
            return StoreFailedError(f"the database did not answer: {reason}")
        late = waited > self.limit + 5  # an attempt has limits of its own
        how = f"after {waited:.0f} s" if late else f"within {self.limit:.0f} s"
        return StoreFailedError(f"the database did not answer {how}: {reason}")
