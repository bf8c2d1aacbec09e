"""A copy of a SQLite store at one moment, taken while others write to it."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy.engine import URL

from db.errors import StoreError, StoreFailedError


def backup(url: URL, target: Path) -> int:
    """Copy the SQLite store at `url` to the new file `target`; gives its size in bytes.

    `url` is as `db.engine.reading_url` gives it.

    SQLite's online backup (https://www.sqlite.org/backup.html) in a single step: one read transaction, which
    in write-ahead mode keeps no writer waiting. The copy is checked and on the disk before it gets its name.
    Raises StoreError where `target` exists or its directory does not, and StoreFailedError where the copy
    cannot be made; neither leaves anything behind.
    """
    try:
        target.open("xb").close()  # the name is ours from here on
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
    """Copy a database page by page, check the copy, and force it to the disk."""
    # Opened for writing too: a file in write-ahead mode cannot be read if its index cannot be made.
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
    """Force a file, or a directory's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
