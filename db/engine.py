"""Opens the database: the URL, SQLite's pragmas, and which errors are worth a retry."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from db.errors import StoreError
from db.files import read_regular

PASSWORD_FILE = "JOB_DATABASE_PASSWORD_FILE"  # noqa: S105
"""names a file (a mounted secret) with the password for a PostgreSQL URL that has none"""
REFUSED = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "permission denied",
    "does not exist",
    "is not permitted to log in",
    "invalid integer value",
    'value: "',
)
"""texts of permanent errors of a login or a URL parameter, for which the driver has no SQLSTATE"""
SECRET = ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
"""secret parameters of a PostgreSQL URL, besides `password`"""
SQLITE_PARAMETERS = ("timeout", "cached_statements")
"""whole or decimal numbers; the others change which file is opened, or how, which is up to the command"""
BUSY_TIMEOUT = 1.0
"""seconds that SQLite itself waits for another writer; short, so that signals are handled in between"""

IDLE_TIMEOUT = 30
"""seconds after which PostgreSQL ends a writer that idles in a transaction, and frees its locks"""


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
        require_postgresql(text)
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
        if not url.database or url.database == ":memory:" or "mode=memory" in text:
            raise StoreError(
                "a store in memory would be gone with the process; name a file, like " + examples
            )
        if url.username or url.host:
            raise StoreError(f"the database URL names a user or a host, not a file; write it like {examples}")
        if url.database.startswith("file:"):
            raise StoreError(f"the database URL names a URI; name the file itself, like {examples}")
        query = text.partition("?")[2]
        if "?" in text and not parse_qsl(query, keep_blank_values=True):
            raise StoreError("the database URL has a ? without a parameter; a file's name cannot have a ?")
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name in SQLITE_PARAMETERS and not re.fullmatch(r"(\d+\.?\d*)?", value):
                raise StoreError(f"the database URL's parameter {name} is {value!r}, not a number")
            if name not in SQLITE_PARAMETERS:
                raise StoreError(
                    f"the database URL has an unknown parameter {name!r}; a file's name cannot have a ?"
                )
        return url.set(drivername="sqlite")
    raise StoreError(f"the database URL names {backend!r}; stores are SQLite or PostgreSQL, like {examples}")


def require_postgresql(text: str) -> None:
    """Raises StoreError for unknown parameters, and for an unescaped @, ? or & that may be the password's."""
    before, _, after = text.partition("@")
    if "@" in after or (after and "?" in before):
        raise StoreError("the database URL has two @, or a ? before the @; in a value write %40 and %3F")
    given = parse_qsl((after or before).partition("?")[2], keep_blank_values=True)
    if given:
        from psycopg.pq import Conninfo  # here and below: not for SQLite

        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        for i, (name, _) in enumerate(given, 1):
            if name not in known:  # not quoted: it may be the end of a password with &
                raise StoreError(
                    f"the database URL's parameter {i} is unknown to PostgreSQL; in a value write & as %26"
                )


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


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite store; None for PostgreSQL and for a store in memory."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def reading_url(url: URL) -> URL:
    """The URL for reading a store: differs from `url` only for a SQLite file in a read-only directory.

    To read a file in write-ahead mode, SQLite creates files beside it. If it cannot, and no such file shows
    that somebody is writing, the file is opened as immutable.
    """
    path = sqlite_path(url)
    if path is None or os.access(path.parent, os.W_OK) or Path(f"{path}-wal").exists():
        return url
    return url.set(database=f"file:{quote(str(path))}", query={"immutable": "1", "uri": "true"})


def create_store_engine(url: URL, gives_up: Callable[[float], bool] | None = None) -> Engine:
    """An engine for the store at `url`; connects to nothing yet. `gives_up`: see `db.postgresql`.

    On SQLite, a transaction with the execution option `write` takes the write lock at its start (BEGIN
    IMMEDIATE) and waits for it there; upgrading a read transaction would fail instead.
    """
    try:
        if url.get_backend_name() == "postgresql":
            # A lost server is noticed within about half a minute: by keep-alives on an idle connection,
            # by TCP_USER_TIMEOUT (in milliseconds) on one with data in flight.
            ours = {
                "connect_timeout": 10,
                "application_name": "epoch-ledger",
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 4,
                "tcp_user_timeout": 30_000,
            }
            given = {"client_encoding": "utf8"} | unless_given(url, ours)
            engine = create_engine(url, pool_size=2, connect_args=given)
            if gives_up is not None:
                from db.postgresql import connect

                event.listen(
                    engine, "do_connect", lambda _, __, args, kwargs: connect(gives_up, *args, **kwargs)
                )
            event.listen(engine, "connect", _require_utf8)
            event.listen(engine, "begin", _begin_postgresql)
            return engine
        engine = create_engine(url, connect_args=unless_given(url, {"timeout": BUSY_TIMEOUT}))
    except NoSuchModuleError as error:
        raise StoreError(f"no driver for this database URL: {error}") from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def unless_given(url: URL, settings: dict[str, Any]) -> dict[str, Any]:
    """Our settings of a connection, without those that the URL has as parameters."""
    return {name: value for name, value in settings.items() if name not in url.query}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    connection.execute("PRAGMA foreign_keys = ON")
    # A power cut may cost the last transactions, never the file; a resume trains them again.
    connection.execute("PRAGMA synchronous = NORMAL")


def _require_utf8(connection: Any, _record: Any) -> None:
    encoding, name = connection.info.parameter_status("server_encoding"), connection.info.dbname
    if encoding not in (None, "UTF8"):  # a pooler may not pass it on
        connection.close()
        raise StoreError(
            f"the encoding of the database {name} is {encoding}, which cannot hold every name; make another: "
            f"CREATE DATABASE \"{name}_utf8\" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
        )


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("write", False):
        # For this transaction only: a connection pooler may give the session to other clients.
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s'")


def is_passing(error: BaseException) -> bool:
    """Whether a retry may succeed after this database error: a lost or refused connection, a lock."""
    if not isinstance(error, DBAPIError):
        return False
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if error.connection_invalidated:
        return True
    state = getattr(cause, "sqlstate", None)
    if state is None:  # psycopg reached no server, or the login failed
        if any(reason in str(cause) for reason in REFUSED):
            return False
        return type(cause).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError")
    # Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, rollback
    # (deadlock, serialisation), too many connections, operator intervention (shutdown, start-up), and a
    # session that was ended because it idled in a transaction.
    return state[:2] in ("08", "40") or state in ("53300", "25P03") or state[:3] == "57P"


def error_line(error: DBAPIError, url: URL) -> str:
    """One line for a database error, without SQL, parameters or password."""
    cause = str(error.orig).strip()
    line = cause.splitlines()[0] if cause else type(error.orig).__name__
    if line == "database is locked":
        line = "another process has been writing to it for long"
    for secret in (url.password, *(url.query.get(name) for name in SECRET)):
        if secret:
            line = line.replace(str(secret), "***")
    return f"{line} ({shown(url)})"
