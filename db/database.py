"""An open database with our schema, and the list of its runs, through SQLAlchemy Core.

`db.store` adds the object-relational mapper, whose import alone takes as long as a short command.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, text

from db.backends.sqlite import reading_url, sqlite_path
from db.engine import create_store_engine, parse_url
from db.errors import NotFoundError, StoreError, naming
from db.retry import RetryPolicy
from db.types import UtcDateTime
from db.version import require_head

Result = TypeVar("Result")
HEARTBEAT_TIMEOUT = 60.0
"""seconds without a heartbeat after which a running run counts as crashed"""
DATABASE_TIMEOUT = 600.0
"""seconds to wait for an unreachable database"""
PROGRESS = """
    SELECT run_id, model, epochs
    FROM (
        SELECT m.run_id, m.position, m.name AS model, (
            SELECT max(e.epoch) + 1 FROM epochs e WHERE e.run_id = m.run_id AND e.model = m.name
        ) AS epochs
        FROM models m {where}
    ) AS trained
    WHERE epochs IS NOT NULL ORDER BY run_id, position
"""
"""epochs of each model that has any, in the models' order; one look-up each in the primary key"""
DIGESTS = "SELECT run_id, name, digest FROM models {where} ORDER BY run_id, position"
RUNS = """
    SELECT r.id, r.status, r.stop_reason, r.trigger, d.name AS dataset, d.sha256, d.target, d.reading,
        r.epochs, r.learning_rate, r.seed, r.resumes, r.created_at, r.heartbeat_at, r.finished_at, r.sweep,
        r.thinned_every, EXISTS (SELECT 1 FROM archived_models a WHERE a.run_id = r.id) AS archived
    FROM runs r
    JOIN datasets d ON d.id = r.dataset_id
    {where}
    ORDER BY r.id DESC
"""


class Database:
    """An open database with our schema. Use it as a context manager, or `close` it.

    Raises StoreError if the URL, the directory, the file or the schema version is wrong. A missing or empty
    database raises NotFoundError unless `create`, which makes its tables. `answer_timeout`: seconds that a
    reachable PostgreSQL may take to answer, by default `database_timeout`.
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
        log_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.url = parse_url(url)
        self.heartbeat_timeout = heartbeat_timeout
        if not create and self.path and not self.path.exists():
            raise NotFoundError(f"there is no store at {self.path} yet; `job train` makes one")
        check_directory(self.path)
        self.stop = stop or threading.Event()
        self.log_line = log_line
        self.waiting = RetryPolicy(self.url, database_timeout, self.stop, log_line, answer_timeout)
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
        except (TypeError, ValueError) as error:  # drivers raise these for unknown parameters
            raise StoreError(f"the database URL has a parameter that cannot be used: {error}") from error

    @property
    def path(self) -> Path | None:
        """The SQLite file; None on PostgreSQL."""
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
        """Close the connections. On SQLite, closing the last one checkpoints the write-ahead log."""
        self.engine.dispose()

    def connected(self, work: Callable[[Connection], Result]) -> Result:
        """The result of `work` in one read transaction, retried. Raises StoreFailedError after a timeout."""

        def attempt(_: int) -> Result:
            with self.engine.connect() as connection:
                return work(connection)

        with naming(""):
            return self.waiting(attempt)


def check_directory(path: Path | None) -> None:
    """Raises StoreError if `path` cannot be a SQLite file: no such directory, or not a regular file."""
    if path is None:
        return
    if path.is_dir():
        raise StoreError(f"{path} is a directory, not a database file")
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is a pipe or a device, not a database file")
    if not path.parent.is_dir():
        raise StoreError(f"the directory {path.parent} does not exist; make it, or choose another database")


def summaries(database: Database, run_id: int | None = None) -> list[dict[str, Any]]:
    """All runs, or the one of that id, newest first: columns of `runs` and `datasets` by name, and more.

    `archived` is whether its epochs are in archives, `trained` the number of epochs by model, `digests` the
    digest by model or None. Times are aware, in UTC. Raises NotFoundError if the run is not there.
    """
    of_models, of_runs = ("", "") if run_id is None else ("WHERE run_id = :run", "WHERE r.id = :run")
    given = {} if run_id is None else {"run": run_id}
    moments = dict.fromkeys(("created_at", "heartbeat_at", "finished_at"), UtcDateTime)

    def work(connection: Connection) -> list[dict[str, Any]]:
        trained = by_run(connection.execute(text(PROGRESS.format(where=of_models)), given))
        digests = by_run(connection.execute(text(DIGESTS.format(where=of_models)), given))
        rows = connection.execute(text(RUNS.format(where=of_runs)).columns(**moments), given).mappings()
        return [
            {
                **row,
                "reading": json.loads(row["reading"]),
                "archived": bool(row["archived"]),
                "trained": trained.get(row["id"], {}),
                "digests": digests.get(row["id"], {}),
            }
            for row in rows
        ]

    found = database.connected(work)
    if not found and run_id is not None:
        raise NotFoundError(f"there is no run {run_id}; `job runs` lists what there is")
    return found


def by_run(rows: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """The values of rows of a run's id, a model's name and a value: by run, and then by model."""
    found: dict[int, dict[str, Any]] = {}
    for run_id, model, value in rows:
        found.setdefault(run_id, {})[model] = value
    return found
