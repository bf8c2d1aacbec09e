"""Waits out a database that is away for a while, instead of losing the run with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from db.engine import describe, is_passing
from db.errors import CorruptedError, StoreError, StoreFailedError

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")
PATIENCE = 2.0
"""seconds of waiting that pass in silence: a busy SQLite file is no news"""
PERMANENT = {
    "attempt to write a readonly database": (StoreError, "the database is read only"),
    "unable to open database file": (StoreError, "the database file cannot be opened"),
    "file is not a database": (StoreError, "the file is not a SQLite database"),
    "database disk image is malformed": (CorruptedError, "the database file is corrupted"),
    "Could not decode to UTF-8": (CorruptedError, "the database file is corrupted"),
    "invalid page in block": (CorruptedError, "a page of the database is corrupted"),
    "database or disk is full": (StoreFailedError, "the disk is full"),
}
"""what SQLite and PostgreSQL say, and what we make of it"""


class Waiting:
    """Repeats database work over passing faults, with growing pauses, up to a limit.

    `stop` ends the waiting early, `say` is told once that it waits and once that it is over.
    """

    def __init__(
        self, url: URL, limit: float, stop: threading.Event | None, say: Callable[[str], None]
    ) -> None:
        self.url = url
        self.limit = limit
        self.stop = stop or threading.Event()
        self.say = say
        self._said = False

    def __call__(self, work: Callable[[int], Result]) -> Result:
        """The result of `work(attempt)`, attempts counted from 1.

        Raises StoreFailedError once the limit has passed or `stop` is set, and StoreError or
        StoreFailedError at once for a fault that no waiting mends.
        """
        started = time.monotonic()
        try:
            return work(1)
        except DBAPIError as error:
            if not is_passing(error):
                raise self._explained(error) from error
            return self._repeated(work, error, started)

    def _repeated(self, work: Callable[[int], Result], first: DBAPIError, started: float) -> Result:
        """The result of further attempts, after a `first` one that failed in passing. Raises likewise.

        The time that counts runs from `started`, when the first one began: it may have taken long itself.
        """
        from tenacity import (  # which most processes never need
            Retrying,
            retry_if_exception,
            sleep_using_event,
            stop_after_delay,
            stop_when_event_set,
            wait_random_exponential,
        )

        self._said = False

        def waited() -> float:
            return time.monotonic() - started

        retrying = Retrying(
            retry=retry_if_exception(is_passing),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            stop=stop_after_delay(max(0.0, self.limit - waited())) | stop_when_event_set(self.stop),
            sleep=sleep_using_event(self.stop),
            before_sleep=lambda state: self._announce(state, waited()),
            reraise=True,
        )
        attempts = 0

        def attempt() -> Result:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise first
            return work(attempts)

        try:
            result = retrying(attempt)
        except DBAPIError as error:
            raise self._explained(error) from error
        if self._said:
            self.say(f"the database is back after {waited():.0f} s; going on")
        return result

    def _announce(self, state: RetryCallState, waited: float) -> None:
        if self._said or waited + state.upcoming_sleep < PATIENCE:
            return
        self._said = True
        error = state.outcome.exception() if state.outcome else None
        reason = describe(error, self.url) if isinstance(error, DBAPIError) else str(error)
        self.say(f"waiting up to {self.limit:.0f} s for the database: {reason}")

    def _explained(self, error: DBAPIError) -> StoreError:
        reason = describe(error, self.url)
        for said, (kind, meaning) in PERMANENT.items():
            if said in reason:
                return kind(f"{meaning}: {self.url.database}")
        if is_passing(error) and self.stop.is_set():
            return StoreFailedError(f"the database did not answer: {reason}")
        if is_passing(error):
            return StoreFailedError(f"the database did not answer within {self.limit:.0f} s: {reason}")
        return StoreFailedError(f"the database refused: {reason}")
