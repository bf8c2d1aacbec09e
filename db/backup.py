"""Backs up a SQLite store while other processes write to it."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy.engine import URL

from db.errors import StoreError, StoreFailedError


def backup(url: URL, target: Path) -> int:
    """Copy the SQLite store at `url` to the new file `target`; return its size in bytes.

    `url` is a result of `db.engine.reading_url`.

    Uses SQLite's online backup (https://www.sqlite.org/backup.html) in a single step: one read transaction,
    which blocks no writer in write-ahead mode. The copy is checked and synced before it gets its name. Raises
    StoreError if `target` exists or its directory does not, and StoreFailedError if the copy fails; neither
    leaves a file behind.
    """
    try:
        target.open("xb").close()  # reserves the name
    except FileExistsError:
        raise StoreError(f"{target} exists already, and a backup overwrites nothing") from None
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}") from None
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        copy(url, draft)
        draft.replace(target)
        flush(target.parent)
        return target.stat().st_size
    except BaseException as error:
        for path in (
            target,
            draft,
            *(draft.with_name(draft.name + end) for end in ("-wal", "-shm", "-journal")),
        ):
            with suppress(OSError):
                path.unlink()
        if isinstance(error, sqlite3.Error | OSError):
            raise StoreFailedError(f"no backup was made: {target}: {error}") from error
        raise


def copy(url: URL, draft: Path) -> None:
    """Copy all pages of a database, check the copy, and sync it to disk."""
    # Opened for writing too: reading a file in write-ahead mode may have to create its index.
    closed = "immutable" in url.query
    source = f"{url.database}?immutable=1" if closed else str(url.database)
    with (
        closing(sqlite3.connect(source, timeout=60, uri=closed)) as origin,
        closing(sqlite3.connect(draft)) as made,
    ):
        origin.backup(made, pages=-1)
        found = made.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreFailedError(f"no backup was made: {source} is damaged: {found}")
    flush(draft)


def flush(path: Path) -> None:
    """Sync a file, or a directory's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
