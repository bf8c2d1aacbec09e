"""A disk for SQLite on which every write and sync is recorded, may fail, and may be lost.

It is a VFS of apsw's, whose SQLite is SQLAlchemy's driver, so that the store's own statements and pragmas are
tested. (The `sqlite3` module gives no access to a VFS.)
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw
from sqlalchemy import Engine, event

SECTOR = 512
"""bytes that a disk writes completely or not at all"""


class Change(NamedTuple):
    """A `write`, `truncate`, `sync` or `delete` of a file, by the file's name."""

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


class Disk(apsw.VFS):
    """Passes all calls on to the real disk; `changes` records it in order. `before` may raise apsw.Error."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.before: Callable[[Change], object] = lambda change: None
        super().__init__("recorded", "unix")

    def record(self, *change: Any) -> None:
        made = Change(*change)
        self.before(made)
        self.changes.append(made)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.record("delete", Path(filename).name)
        super().xDelete(filename, syncdir)


class File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.record("write", self.name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self.disk.record("truncate", self.name, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.disk.record("sync", self.name)
        super().xSync(flags)


class Cursor:
    """As much of a DB-API cursor as SQLAlchemy uses."""

    arraysize = 1

    def __init__(self, real: apsw.Connection) -> None:
        self.real = real
        self.description: Any = None
        self.rows: Iterator[Any] = iter(())
        self.rowcount = -1

    def executemany(self, statement: str, rows: Any) -> None:
        for row in rows:
            self.execute(statement, row)

    def execute(self, statement: str, parameters: Any = ()) -> Cursor:
        def columns(cursor: apsw.Cursor, *_: Any) -> bool:  # called before the first row, which may not exist
            self.description = [(*column, *[None] * 5) for column in cursor.get_description()] or None
            return True

        cursor = self.real.cursor()
        cursor.exec_trace = columns
        try:
            self.rows = iter(cursor.execute(statement, parameters).fetchall())
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from error
        self.rowcount, self.lastrowid = self.real.changes(), self.real.last_insert_rowid()
        return self

    def fetchall(self) -> list[Any]:
        return list(self.rows)

    def fetchone(self) -> Any:
        return next(self.rows, None)

    def close(self) -> None:
        pass


class Connection:
    """As much of a DB-API connection as SQLAlchemy and the store use."""

    isolation_level = None

    def __init__(self, file: str) -> None:
        self.real = apsw.Connection(file, vfs="recorded")
        self.real.execute("PRAGMA wal_autocheckpoint = 20")  # so that a short run has checkpoints

    def cursor(self) -> Cursor:
        return Cursor(self.real)

    def execute(self, statement: str) -> Cursor:
        return self.cursor().execute(statement)

    def commit(self) -> None:
        if self.real.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.real.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        self.real.close()

    def create_function(self, name: str, arguments: int, function: Any, **_: object) -> None:
        self.real.create_scalar_function(name, function, arguments)


@contextmanager
def recorded_disk() -> Iterator[Disk]:
    """While open, every SQLite file that SQLAlchemy connects to is on this disk."""
    disk = Disk()

    def connect(_dialect: Any, _record: Any, given: list[Any], _named: Any) -> Any:
        return Connection(given[0])

    event.listen(Engine, "do_connect", connect)
    try:
        yield disk
    finally:
        event.remove(Engine, "do_connect", connect)


def after_power_cut(changes: list[Change], kept: Callable[[], bool]) -> dict[str, bytes]:
    """What a disk holds if the power fails after these changes: the content of each file by name.

    What was synced is there. For each later change to a file, `kept` is called and returns whether it is
    there: for each sector of a write and for each truncation and deletion. A deletion is permanent after the
    next sync of any file: journalling file systems keep the order of changes to a directory.
    """
    safe: dict[str, bytes | None] = {}
    pending: dict[str, list[Change]] = {}
    for change in changes:
        for file, waiting in pending.items():
            deleted = bool(waiting) and waiting[-1].kind == "delete"
            own = file == change.file
            if (own or deleted) if change.kind == "sync" else (own and deleted):
                safe[file] = applied(safe.get(file), waiting, lambda: True)
                waiting.clear()
        if change.kind != "sync":
            pending.setdefault(change.file, []).append(change)
    files = {file: applied(safe.get(file), waiting, kept) for file, waiting in pending.items()}
    return {file: content for file, content in files.items() if content is not None}


def applied(content: bytes | None, changes: list[Change], kept: Callable[[], bool]) -> bytes | None:
    """The content of a file after some of the changes; None if there is no file."""
    if content is None and not changes:
        return None
    made = bytearray(content or b"")
    for kind, _, offset, data in changes:
        if kind == "write":
            for start in range(0, len(data), SECTOR):
                if kept():
                    end = offset + min(start + SECTOR, len(data))
                    made.extend(bytes(max(0, end - len(made))))
                    made[offset + start : end] = data[start : start + SECTOR]
        elif kept() and kind == "delete":
            return None
        elif kept():
            del made[offset:]
    return bytes(made)


def by_chance(seed: int) -> Callable[[], bool]:
    """Keeps each change with a probability of one half."""
    dice = random.Random(seed)
    return lambda: dice.random() < 0.5
