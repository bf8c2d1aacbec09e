"""Errors shown to users: one line each, with what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class LedgerError(Exception):
    """An error that the user sees as one line instead of a traceback.

    `exit_status` is the command's: 2 for wrong use or bad input, 1 for a run or a database that failed.
    """

    exit_status = 2


class StoreError(LedgerError):
    """The store cannot be used: missing, foreign, corrupted, read-only, of another version."""


class NotFoundError(StoreError):
    """There is no such run, scheduled run or sweep, or no store at all."""


class UnsuitableRunError(StoreError):
    """A run is not, or no longer, in the state that the work needs; another process may have changed it."""


class LeaseHeldError(StoreError):
    """Another process already has it: the run, the one live nightly run, a scheduled run, a sweep's run."""


class CorruptedError(StoreError):
    """A page or a value in the store is corrupted."""


class StoreFailedError(StoreError):
    """The store failed during work: the disk is full, or the database was unreachable for too long."""

    exit_status = 1


class LeaseLostError(StoreError):
    """The process has lost the lease of its run and must not write to it any more."""

    exit_status = 1


class QueryError(LedgerError):
    """An invalid query: wrong SQL, a wrong parameter, or one that does more than read."""


class QueryStoppedError(LedgerError):
    """A query that was stopped at its time limit, or because its result is larger than allowed."""

    exit_status = 1


@contextmanager
def naming(about: str) -> Iterator[None]:
    """Turn errors about a corrupted value into a CorruptedError that names what was read (`about`)."""
    where = f"{about}: " if about else ""
    try:
        yield
    except CorruptedError as error:
        raise CorruptedError(f"{where}{error}") from error
    except ValueError as error:  # of whatever parses the value: a JSON reader, NumPy, SQLAlchemy
        raise CorruptedError(f"{where}a value in the store is corrupted: {error}") from error
