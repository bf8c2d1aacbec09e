"""Opens the database: its URL, its engine, and which errors are worth a retry."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from db.backends import postgresql, sqlite
from db.errors import StoreError
from db.input_files import read_regular

PASSWORD_FILE = "JOB_DATABASE_PASSWORD_FILE"  # noqa: S105
"""environment variable with the path of a password file, for a PostgreSQL URL without a password"""
SECRET = ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
"""secret parameters of a PostgreSQL URL, besides `password`"""


def parse_url(text: str) -> URL:
    """The URL of a store, with the password from PASSWORD_FILE if it needs one and has none.

    Raises StoreError for a URL that is neither SQLite's nor PostgreSQL's or has unknown parameters, and for
    an unusable password file. No message repeats what may be part of a password.
    """
    examples = "sqlite:///results/ledger.db or postgresql://user@host/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise StoreError(f"the database URL cannot be read; write it like {examples}") from None
    backend = url.get_backend_name()
    if backend == "postgres":  # the older spelling that many hosts still hand out
        backend = "postgresql"
    if backend == "postgresql":
        postgresql.require_url(text)
        url = url.set(drivername="postgresql+psycopg")
        if password := url.query.get("password"):  # takes precedence over `user:password@`
            password = password if isinstance(password, str) else password[-1]
            url = url.difference_update_query(["password"]).set(password=password)
        if url.password:
            return url
        # An empty password (`user:@host`) counts as none, but would be shown as a masked one.
        file = os.environ.get(PASSWORD_FILE)
        return URL.create(**(url._asdict() | {"password": read_password(Path(file)) if file else None}))
    if backend == "sqlite":
        sqlite.require_url(text, url, examples)
        return url.set(drivername="sqlite")
    raise StoreError(f"the database URL names {backend!r}; stores are SQLite or PostgreSQL, like {examples}")


def shown(url: URL) -> str:
    """The URL for printing: without driver and secret parameters, the password masked."""
    return url.set(drivername=url.get_backend_name()).difference_update_query(SECRET).render_as_string()


def read_password(file: Path) -> str:
    """The password in a one-line file. Raises StoreError, whose message never quotes the file."""
    try:
        password = read_regular(file).decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise StoreError(f"{PASSWORD_FILE}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StoreError(f"{PASSWORD_FILE}: {file} is not UTF-8 text") from None
    if not password or "\n" in password or "\0" in password:
        raise StoreError(f"{PASSWORD_FILE}: {file} must hold the password, on one line")
    return password


def create_store_engine(url: URL, gives_up: Callable[[float], bool] | None = None) -> Engine:
    """An engine for the store at `url`, a result of `parse_url`; connects to nothing yet.

    `gives_up`: see `db.backends.connection`.
    """
    if url.get_backend_name() == "postgresql":
        return postgresql.engine_of(url, gives_up)
    return sqlite.engine_of(url)


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed after this database error: a lost or refused connection, a lock."""
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return sqlite.is_transient(error.orig)
    return error.connection_invalidated or postgresql.is_transient(error.orig)


def error_line(error: DBAPIError, url: URL) -> str:
    """One line for a database error, without SQL, parameters or password."""
    cause = str(error.orig).strip()
    line = cause.splitlines()[0] if cause else type(error.orig).__name__
    if line == "database is locked":
        line = "another writer has kept it busy for long"
    for secret in (url.password, *(url.query.get(name) for name in SECRET)):
        if secret:
            line = line.replace(str(secret), "***")
    return f"{line} ({shown(url)})"
