"""Errors that a user meets. Each is one line that says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class LedgerError(Exception):
    """A fault worth one line to the user instead of a traceback.

    `exit_status` is what the command line ends with: 2 for wrong use or bad input, 1 for a run or a
    database that failed.
    """

    exit_status = 2


class StoreError(LedgerError):
    """The store cannot be used as it is: missing, foreign, corrupted, read only, of another version."""


class NotFoundError(StoreError):
    """There is no such run, night or sweep, or no store at all."""


class HeldError(StoreError):
    """A living process holds what was asked for: the run, or the one nightly run that there may be."""


class CorruptedError(StoreError):
    """A page or a value of the store is not as it was written."""


class StoreFailedError(StoreError):
    """The store failed in the middle of work: the disk is full, or the database stayed away too long."""

    exit_status = 1


class LeaseLostError(StoreError):
    """Another process holds the run now, so this one must not write to it any more."""

    exit_status = 1


class QueryError(LedgerError):
    """A query that cannot be asked: wrong SQL, a wrong parameter, or one that would not only read."""


class QueryTimeoutError(LedgerError):
    """A query that was stopped because it took longer than allowed."""

    exit_status = 1


class QueryTooLargeError(LedgerError):
    """A query that was stopped because its answer is larger than allowed."""

    exit_status = 1


@contextmanager
def naming(about: str) -> Iterator[None]:
    """Let an error over a corrupted value say what was being read. Raises CorruptedError."""
    where = f"{about}: " if about else ""
    try:
        yield
    except CorruptedError as error:
        raise CorruptedError(f"{where}{error}") from error
    except ValueError as error:  # of whatever reads the value: a JSON reader, NumPy, SQLAlchemy
        raise CorruptedError(f"{where}a value in the store is corrupted: {error}") from error
