"""An open database that has our schema, as SQLAlchemy's core sees it: enough to read lists of what there is.

`db.store` adds the object-relational mapper, whose import takes as long as a short command altogether.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import Connection

from db.engine import create_store_engine, parse_url, reading_url, sqlite_path
from db.errors import NotFoundError, StoreError, naming
from db.retry import RetryPolicy
from db.version import require_head

Result = TypeVar("Result")
HEARTBEAT_TIMEOUT = 60.0
"""seconds of silence after which a running run counts as crashed"""
DATABASE_TIMEOUT = 600.0
"""seconds to wait for a database that went away"""


class Database:
    """An open database of ours. Use it as a context manager, or `close` it.

    Raises StoreError when the URL, the directory, the file or the schema's version is wrong. An empty or
    missing database is refused unless `create`, which makes its tables. `answer_timeout`: how many seconds a
    PostgreSQL that is there may take to answer; by default `database_timeout`, too.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = False,
        heartbeat_timeout: float = HEARTBEAT_TIMEOUT,
        database_timeout: float = DATABASE_TIMEOUT,
        answer_timeout: float | None = None,
        stop: threading.Event | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.url = parse_url(url)
        self.heartbeat_timeout = heartbeat_timeout
        if not create and self.path and not self.path.exists():
            raise NotFoundError(f"there is no store at {self.path} yet; `job train` makes one")
        check_directory(self.path)
        self.stop = stop or threading.Event()
        self.say = say
        self.waiting = RetryPolicy(self.url, database_timeout, self.stop, say, answer_timeout)
        try:
            self.engine = create_store_engine(
                self.url if create else reading_url(self.url), self.waiting.gives_up
            )
            self._writing = self.engine.execution_options(write=True)
            try:
                self._open(create)
            except BaseException:
                self.close()
                raise
        except (TypeError, ValueError) as error:  # what drivers make of parameters that they do not know
            raise StoreError(f"the database URL has a parameter that cannot be used: {error}") from error

    @property
    def path(self) -> Path | None:
        """The SQLite file, None on PostgreSQL."""
        return sqlite_path(self.url)

    def _open(self, create: bool) -> None:
        if self.connected(require_head):
            return
        if not create:
            raise NotFoundError("the database is empty; `job train` or `job db upgrade` makes its tables")
        from db.migrate import upgrade  # Alembic is slow to import, and seldom needed

        self.waiting(lambda attempt: upgrade(self.engine))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back. On SQLite the last one to close folds the write-ahead log in."""
        self.engine.dispose()

    def connected(self, work: Callable[[Connection], Result]) -> Result:
        """The result of `work` in one read transaction, repeated over passing faults.

        Raises StoreFailedError once the database has been away for too long.
        """

        def attempt(_: int) -> Result:
            with self.engine.connect() as connection:
                return work(connection)

        with naming(""):
            return self.waiting(attempt)


def check_directory(path: Path | None) -> None:
    """Raises StoreError if a SQLite file cannot be there: no directory, or something else in its place."""
    if path is None:
        return
    if path.is_dir():
        raise StoreError(f"{path} is a directory, not a database file")
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is a pipe or a device, not a database file")
    if not path.parent.is_dir():
        raise StoreError(f"the directory {path.parent} does not exist; make it, or choose another database")
