"""RetryPolicy for a database: when it logs, when it ends, and what it does not retry."""

from __future__ import annotations

import random
import threading
import time
from types import SimpleNamespace
from unittest.mock import patch

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from db.engine import is_transient
from db.errors import StoreFailedError
from db.retry import PATIENCE, RetryPolicy

URL = make_url("postgresql://somebody:open-sesame@nowhere/ledger")


def gone() -> OperationalError:
    return OperationalError("SELECT", None, Exception("gone"), connection_invalidated=True)


def away_for(seconds: float, waiting: RetryPolicy) -> int:
    """How many attempts it took to reach a database that is unreachable for that long."""
    back = time.monotonic() + seconds

    def work(attempt: int) -> int:
        if time.monotonic() < back:
            raise gone()
        return attempt

    return waiting(work)


@pytest.mark.slow
@pytest.mark.parametrize("_again", range(2))
def test_a_wait_beyond_the_patience_is_said_once_and_its_end_too(_again: int) -> None:
    lines: list[str] = []
    assert away_for(PATIENCE + 0.5, RetryPolicy(URL, 60, None, lines.append)) > 1
    assert [line.split(" for the database")[0].split(" after")[0] for line in lines] == [
        "waiting up to 60 s",
        "the database is back",
    ]
    assert "open-sesame" not in "".join(lines)


def test_a_short_wait_is_no_news() -> None:
    lines: list[str] = []
    away_for(0.01, RetryPolicy(URL, 60, None, lines.append))
    assert lines == []


@pytest.mark.slow
def test_past_the_limit_it_fails() -> None:
    with pytest.raises(StoreFailedError, match="did not answer within 1 s: gone"):
        away_for(60, RetryPolicy(URL, 1, None, lambda line: None))


@given(limit=st.floats(1, 600), seed=st.integers(0))
def test_no_pause_goes_beyond_the_limit(limit: float, seed: int) -> None:
    """Time is simulated: each pause moves the clock, and nothing else does."""
    now = 0.0

    class Pause(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now
            now += timeout or 0
            return False

    def work(attempt: int) -> None:
        raise gone()

    random.seed(seed)
    clock = SimpleNamespace(monotonic=lambda: now, sleep=time.sleep)
    with patch("db.retry.time", clock), pytest.raises(StoreFailedError, match="within"):
        RetryPolicy(URL, limit, Pause(), lambda line: None)(work)
    assert limit <= now < limit + 0.001


def test_the_first_attempt_counts_too() -> None:
    attempts: list[int] = []

    def work(attempt: int) -> None:
        attempts.append(attempt)
        time.sleep(0.3)  # an unanswered connection
        raise gone()

    with pytest.raises(StoreFailedError, match="did not answer within"):
        RetryPolicy(URL, 0.2, None, lambda line: None)(work)
    assert attempts == [1]


@pytest.mark.slow
def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    with pytest.raises(StoreFailedError):
        away_for(60, RetryPolicy(URL, 60, stop, lambda line: None))
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_after_a_stop_a_busy_database_has_a_moment_and_no_more() -> None:
    """Workers of a stopped sweep store their last blocks at once, and SQLite has one writer at a time."""
    stop = threading.Event()
    stop.set()
    assert 1 < away_for(0.5, RetryPolicy(URL, 60, stop, lambda line: None)) < 50
    started = time.monotonic()
    with pytest.raises(StoreFailedError):
        away_for(60, RetryPolicy(URL, 60, stop, lambda line: None))
    assert time.monotonic() - started < 30


def test_a_fault_that_stays_is_not_waited_for() -> None:
    attempts: list[int] = []

    def work(attempt: int) -> None:
        attempts.append(attempt)
        raise ProgrammingError("SELECT", None, Exception("no such thing"))

    with pytest.raises(StoreFailedError, match="the database refused: no such thing"):
        RetryPolicy(URL, 60, None, lambda line: None)(work)
    assert attempts == [1]


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (psycopg.errors.TooManyConnections, True),
        (psycopg.errors.IdleInTransactionSessionTimeout, True),
        (psycopg.errors.AdminShutdown, True),
        (psycopg.errors.CrashShutdown, True),
        (psycopg.errors.CannotConnectNow, True),
        (psycopg.errors.ConnectionFailure, True),
        (psycopg.errors.DeadlockDetected, True),
        (psycopg.errors.SerializationFailure, True),
        (psycopg.errors.ConnectionTimeout, True),
        (psycopg.OperationalError, True),
        (psycopg.errors.DiskFull, False),
        (psycopg.errors.QueryCanceled, False),
        (psycopg.errors.UniqueViolation, False),
        (psycopg.errors.UndefinedTable, False),
        (psycopg.errors.InsufficientPrivilege, False),
        (psycopg.ProgrammingError, False),
    ],
)
def test_which_faults_of_postgresql_are_waited_for(error: type[Exception], passing: bool) -> None:
    assert is_transient(DBAPIError("SELECT", None, error("so"))) is passing


def test_a_wait_that_is_over_is_not_said_again_and_limits_no_later_work() -> None:
    now = 0.0

    def work(attempt: int) -> int:
        nonlocal now
        now += 5.0
        if attempt == 1:
            raise gone()
        return attempt

    class Pause(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return False

    lines: list[str] = []
    clock = SimpleNamespace(monotonic=lambda: now, sleep=time.sleep)
    with patch("db.retry.time", clock), patch("db.retry.PATIENCE", 1.0):
        waiting = RetryPolicy(URL, 60, Pause(), lines.append, answer_timeout=600)
        assert waiting(work) == 2
        assert len(lines) == 2
        assert waiting(lambda attempt: attempt) == 1
        assert len(lines) == 2
        now += 100
        assert not waiting.gives_up(now)
