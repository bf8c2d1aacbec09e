"""Faults at every point: the n-th exchange with the database fails, or the process dies there."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.backends import connection as watched
from db.store import Store

Exchange = Callable[[], Any]
Fault = Callable[[Any, Exchange], Any]
"""called in place of an exchange, with the driver's connection and the exchange"""
NOT_REACHED = 42


def killed(_: Any, exchange: Exchange) -> None:
    """The process dies before the exchange."""
    os.kill(os.getpid(), signal.SIGKILL)


def lost(connection: psycopg.Connection[Any], exchange: Exchange) -> Any:
    """PostgreSQL: the connection breaks before the exchange."""
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
    return exchange()


def unanswered(connection: psycopg.Connection[Any], exchange: Exchange) -> None:
    """PostgreSQL: the server completes the exchange, but the connection breaks before its answer."""
    exchange()
    connection.close()
    raise psycopg.OperationalError("server closed the connection unexpectedly")


def refused(code: int, message: str) -> Fault:
    """SQLite: the statement or commit fails with that error."""

    def fault(connection: Any, exchange: Exchange) -> None:
        error = sqlite3.OperationalError(message)
        error.sqlite_errorcode = code
        raise error

    return fault


busy = refused(sqlite3.SQLITE_BUSY, "database is locked")
full = refused(sqlite3.SQLITE_FULL, "database or disk is full")


def at_every_point(fault: Fault, work: Callable[[], object]) -> Iterator[int]:
    """Runs `work` in a child in which `fault` replaces the n-th exchange, for n = 1, 2, 3, ...

    Yields each child's exit status: the result of `work`, 0 for None, or the negative number of the signal
    that ended it. Stops once a child ends before its n-th exchange.
    """
    for at in itertools.count(1):
        status = ended(child(partial(with_fault, fault, at, work)))
        if status == NOT_REACHED:
            assert at > 1, "there was no exchange at all"
            return
        yield status


def child(work: Callable[[], object]) -> int:
    """The process id of a fork that runs `work` and exits with its result."""
    number = os.fork()
    if number:
        return number
    try:
        os._exit(int(work() or 0))  # type: ignore[call-overload]
    except BaseException:
        traceback.print_exc()
        os._exit(99)


def ended(number: int) -> int:
    """The exit status of a child once it has ended; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def with_fault(fault: Fault, at: int, work: Callable[[], object]) -> object:
    """The result of `work` in this process with `fault` at exchange `at`; NOT_REACHED if there are fewer."""
    count = 0

    def meet(connection: Any, exchange: Exchange) -> Any:
        nonlocal count
        count += 1
        return fault(connection, exchange) if count == at else exchange()

    intercept(meet)
    result = work()
    return result if count >= at else NOT_REACHED


def intercept(meet: Fault) -> None:
    """Route every statement and commit of this process, on both databases, through `meet`, permanently."""
    wait = watched.Connection.wait

    def waits(connection: watched.Connection, *given: Any, **named: Any) -> Any:
        return meet(connection, partial(wait, connection, *given, **named))

    watched.Connection.wait = waits  # type: ignore[method-assign, assignment]

    class Cursor(sqlite3.Cursor):
        def execute(self, *given: Any) -> Any:
            return meet(self.connection, partial(super().execute, *given))

        def executemany(self, *given: Any) -> Any:
            return meet(self.connection, partial(super().executemany, *given))

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

        def commit(self) -> None:
            if self.in_transaction:
                meet(self, super().commit)

    def on_connect(dialect: Any, _record: Any, _given: Any, named: dict[str, Any]) -> None:
        if dialect.name == "sqlite":
            named["factory"] = Connection

    event.listen(Engine, "do_connect", on_connect)


@contextmanager
def fails_once(store: Store) -> Iterator[None]:
    """The next transaction fails as if its connection had broken; later ones succeed."""
    failed: list[bool] = []

    def breaks(_: Any) -> None:
        if not failed:
            failed.append(True)
            raise OperationalError("BEGIN", None, Exception("gone"), connection_invalidated=True)

    event.listen(store.engine, "begin", breaks)
    yield
    assert failed


def lost_commit(store: Store, monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    """Run `work` as if the connection broke after its first commit but before the answer."""
    real = Session.__exit__
    calls: list[int] = []

    def breaks_once(session: Session, *details: object) -> None:
        real(session, *details)
        if not calls and details[0] is None and session.get_bind() is store._writing:
            calls.append(1)
            raise OperationalError("COMMIT", None, Exception("gone"), connection_invalidated=True)

    monkeypatch.setattr(Session, "__exit__", breaks_once)
    work()
    assert calls
