"""Retries work on an unreachable database, so that its absence does not end the run."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from db.engine import error_line, is_transient
from db.errors import CorruptedError, StoreError, StoreFailedError

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")
PATIENCE = 2.0
"""seconds of waiting that are not logged: a busy SQLite file is normal"""
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
        try:
            result = work(1)
        except DBAPIError as error:
            if not is_transient(error):
                raise self._explained(error) from error
            result = self._repeated(work, error, started)
        if self._announced:
            self.log_line(f"the database is back after {time.monotonic() - started:.0f} s")
        return result

    def _repeated(self, work: Callable[[int], Result], first: DBAPIError, started: float) -> Result:
        """The result of further attempts after the transient error `first`. Raises likewise.

        The limit counts from `started`, when the first attempt began: that one may have taken long.
        """
        # Here, since most processes never need it.
        from tenacity import Retrying, retry_if_exception, wait_random_exponential

        def waited() -> float:
            return time.monotonic() - started

        growing = wait_random_exponential(multiplier=0.2, max=10)

        def upcoming(state: RetryCallState) -> float:
            return min(growing(state), max(0.0, self.limit - waited()))

        def pause(seconds: float) -> None:
            if self.stop.wait(seconds):
                time.sleep(0.1)

        def log_wait(state: RetryCallState) -> None:
            if waited() + state.upcoming_sleep >= PATIENCE and state.outcome:
                error = state.outcome.exception()
                assert isinstance(error, DBAPIError)
                self._announce(self.limit, error_line(error, self.url))

        retrying = Retrying(
            retry=retry_if_exception(is_transient),
            wait=upcoming,
            stop=lambda _: waited() >= (min(GRACE, self.limit) if self.stop.is_set() else self.limit),
            sleep=pause,
            before_sleep=log_wait,
            reraise=True,
        )
        attempts = 0

        def attempt() -> Result:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise first
            return work(attempts)

        self._deadline.at = started + self.limit
        try:
            return retrying(attempt)
        except DBAPIError as error:
            raise self._explained(error, waited()) from error
        finally:
            self._deadline.at = math.inf

    def _announce(self, limit: float, reason: str) -> None:
        if not self._announced:
            self._announced = True
            self.log_line(f"waiting up to {limit:.0f} s for the database: {reason}")

    def _explained(self, error: DBAPIError, waited: float = 0.0) -> StoreError:
        reason = error_line(error, self.url)
        for said, (kind, meaning) in PERMANENT.items():
            if said in reason:
                return kind(f"{meaning}: {self.url.database}")
        if is_transient(error) and self.stop.is_set():
            return StoreFailedError(f"the database did not answer: {reason}")
        if is_transient(error):
            late = waited > self.limit + 5  # an attempt has limits of its own
            how = f"after {waited:.0f} s" if late else f"within {self.limit:.0f} s"
            return StoreFailedError(f"the database did not answer {how}: {reason}")
        return StoreFailedError(f"the database refused: {reason}")
