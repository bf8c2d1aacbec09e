"""Upgrades and downgrades the schema, and compares it with what the code expects."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from db.errors import StoreError
from db.schema import Base
from db.version import HEAD, VERSION_TABLE, current, require_head

COMPARISON: dict[str, Any] = {"compare_type": True, "compare_server_default": True, "render_as_batch": True}
"""how Alembic compares the live schema with `db.schema`"""
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, made without an alembic.ini."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    if connection is not None:
        made.attributes["connection"] = connection
    return made


def pragma(driver: Any, setting: str) -> None:
    """Set a pragma outside a transaction. Raises DBAPIError, as SQLAlchemy's own statements do."""
    try:
        driver.execute(f"PRAGMA {setting}")
    except sqlite3.Error as error:
        raise DBAPIError(setting, None, error) from error


@contextmanager
def _only_migrator(engine: Engine) -> Iterator[Connection]:
    """One write transaction for a whole migration, with other migrations locked out."""
    with engine.execution_options(write=True).connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        driver = connection.connection.driver_connection
        assert driver is not None
        if sqlite:
            # A batch migration drops and recreates tables; with foreign keys on, SQLite would first
            # delete the rows that refer to them. Neither pragma works inside a transaction.
            pragma(driver, "foreign_keys = OFF")
            # Readers and the trainer then never block each other; the setting stays in the file.
            pragma(driver, "journal_mode = WAL")
        try:
            with connection.begin():
                if not sqlite:
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('epoch-ledger'))")
                yield connection
                if sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise StoreError(
                        "the migration would leave rows that refer to nothing; nothing was changed"
                    )
        finally:
            if sqlite:
                pragma(driver, "foreign_keys = ON")


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Upgrade the schema to `revision`. Raises StoreError if that or the schema is unknown or too new."""
    with _only_migrator(engine) as connection:
        known = current(connection)
        if known is not None and known > HEAD:
            require_head(connection)
        _run("upgrade", connection, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Downgrade the schema to `revision`; data that it cannot hold is lost.

    Raises StoreError for an empty database and for an unknown revision.
    """
    with _only_migrator(engine) as connection:
        if current(connection) is None:
            raise StoreError("the database is empty; there is nothing to take down")
        _run("downgrade", connection, revision)


def _run(action: str, connection: Connection, revision: str) -> None:
    # Paddle sets the root logger to INFO, which would log Alembic's steps.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        getattr(command, action)(config(connection), revision)
    except CommandError as error:
        raise StoreError(f"{action} to {revision!r} is not possible: {error}") from None


def differences(connection: Connection) -> list[str]:
    """How the database differs from what the code expects, one line each."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, **COMPARISON})
    return [str(difference) for difference in compare_metadata(context, Base.metadata)]
