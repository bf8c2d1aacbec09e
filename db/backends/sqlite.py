"""SQLite: its URLs, connections and transient errors, the fastest insert of epochs, backups and queries."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from db.backends.query_limits import Row, Watch
from db.errors import QueryError, StoreError, StoreFailedError
from db.types import pack

if TYPE_CHECKING:
    from db.history import History

PARAMETERS = ("timeout", "cached_statements")
"""of a URL: numbers; the others change which file is opened, or how, which is up to the command"""
BUSY_TIMEOUT = 1.0
"""seconds that SQLite itself waits for another writer; short, so that signals are handled in between"""
ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
"""what a query may do"""
STEPS = 10_000
"""instructions of SQLite's virtual machine between two stop checks: well under a millisecond"""
LARGEST_VALUE = 16 * 2**20
"""most bytes of one value of a query"""
PATIENCE = 5.0
"""seconds that a query waits for a file that another process has locked"""


def require_url(text: str, url: URL, examples: str) -> None:
    """Raise StoreError for a URL that names no file, or has unknown parameters."""
    if not url.database or url.database == ":memory:" or "mode=memory" in text:
        raise StoreError("a store in memory would be gone with the process; name a file, like " + examples)
    if url.username or url.host:
        raise StoreError(f"the database URL names a user or a host, not a file; write it like {examples}")
    if url.database.startswith("file:"):
        raise StoreError(f"the database URL names a URI; name the file itself, like {examples}")
    query = text.partition("?")[2]
    if "?" in text and not parse_qsl(query, keep_blank_values=True):
        raise StoreError("the database URL has a ? without a parameter; a file's name cannot have a ?")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in PARAMETERS and not re.fullmatch(r"(\d+\.?\d*)?", value):
            raise StoreError(f"the database URL's parameter {name} is {value!r}, not a number")
        if name not in PARAMETERS:
            raise StoreError(
                f"the database URL has an unknown parameter {name!r}; a file's name cannot have a ?"
            )


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite store; None for PostgreSQL."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def reading_url(url: URL) -> URL:
    """The URL for reading a store: differs from `url` only for a SQLite file in a read-only directory.

    To read a file in write-ahead mode, SQLite creates files beside it. If it cannot, and no such file shows
    that somebody is writing, the file is opened as immutable.
    """
    path = sqlite_path(url)
    if path is None or os.access(path.parent, os.W_OK) or Path(f"{path}-wal").exists():
        return url
    return url.set(database=f"file:{quote(str(path))}", query={"immutable": "1", "uri": "true"})


def engine_of(url: URL) -> Engine:
    """An engine for the file; connects to nothing yet.

    A transaction with the execution option `write` takes the write lock at its start (BEGIN IMMEDIATE) and
    waits for it there; upgrading a read transaction would fail instead.
    """
    timeout = {} if "timeout" in url.query else {"timeout": BUSY_TIMEOUT}
    engine = create_engine(url, connect_args=timeout)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, not by the driver
    connection.execute("PRAGMA foreign_keys = ON")
    # A power cut may cost the last transactions, never the file; a resume trains them again.
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def is_transient(error: sqlite3.Error) -> bool:
    """Whether a retry may succeed: another connection holds a lock."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def insert_epochs(connection: Connection, run_id: int, model: str, history: History) -> None:
    """Insert epochs by one executemany of the driver: a quarter less time than SQLAlchemy's bulk insert."""
    values = zip(
        history.epoch.tolist(),
        history.train_loss.tolist(),
        history.test_loss.tolist(),
        pack(history.parameters),
        history.trained_at.tolist(),
        strict=True,
    )
    connection.exec_driver_sql(
        "INSERT INTO epochs (run_id, model, epoch, train_loss, test_loss, parameters, trained_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(run_id, model, *row) for row in values],
    )


def damage(connection: Connection) -> list[str]:
    """What SQLite itself finds wrong with the file, a line each."""
    found = "\n".join(str(line) for (line,) in connection.exec_driver_sql("PRAGMA quick_check"))
    lines = [line for line in found.splitlines() if line != "ok" and not line.startswith("***")]
    orphans = {row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
    return lines + [f"the table {table} has rows of a run that does not exist" for table in sorted(orphans)]


def size(connection: Connection) -> int:
    """Bytes of the pages in use."""
    pages, free, page = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page


def backup(url: URL, target: Path) -> int:
    """Copy the SQLite store at `url` to the new file `target`; return its size in bytes.

    `url` is a result of `reading_url`. Uses SQLite's online backup (https://www.sqlite.org/backup.html) in a
    single step: one read transaction, which blocks no writer in write-ahead mode. The copy is checked and
    synced before it gets its name. Raises StoreError if `target` exists or its directory does not, and
    StoreFailedError if the copy fails; neither leaves a file behind.
    """
    try:
        target.open("xb").close()  # reserves the name
    except FileExistsError:
        raise StoreError(f"{target} exists already, and a backup overwrites nothing") from None
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}") from None
    draft = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        copy(url, draft)
        draft.replace(target)
        flush(target.parent)
        return target.stat().st_size
    except BaseException as error:
        beside = (draft.with_name(draft.name + end) for end in ("-wal", "-shm", "-journal"))
        for path in (target, draft, *beside):
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


def fetch(
    url: URL, query: str, parameters: Mapping[str, Any], limit: int | None, watch: Watch
) -> Generator[Row, None, None]:
    """Column names and then at most `limit` rows of a query, in a connection that can only read.

    SQLite enforces this twice: the file is opened read-only, and an authorizer refuses, while a statement is
    compiled, every action except reading tables and calling functions. A progress handler stops the query
    between two instructions of SQLite's virtual machine. Raises QueryError.
    """
    assert url.database
    file = Path(url.database).absolute().as_uri()
    closed = "&immutable=1" if reading_url(url) is not url else ""  # see there
    connection = sqlite3.connect(f"{file}?mode=ro{closed}", uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        # Their first use declares their columns with a CREATE TABLE, which the authorizer would refuse.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(watch.over.is_set, STEPS)
        cursor = connection.execute(query, parameters)
        if cursor.description is None:
            raise QueryError("the query is empty")
        yield tuple(column[0] for column in cursor.description)
        yield from islice(cursor, limit)
    except sqlite3.Error as error:
        refused = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_AUTH
        why = "only reading is allowed here" if refused else "the database refused the query"
        raise QueryError(f"{why}: {error}") from error
    except sqlite3.Warning as error:  # several statements in one, up to Python 3.11
        raise QueryError(f"not one query: {error}") from error
    except (OverflowError, ValueError) as error:  # a value or a character that SQLite cannot hold
        raise QueryError(f"the query or a parameter cannot be used: {error}") from error
    finally:
        connection.close()


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    # SQLite names the function in the second argument.
    if action in ALLOWED and second != "load_extension":
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
