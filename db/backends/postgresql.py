"""PostgreSQL: its URLs, connections and transient errors, and the fastest way to insert epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from db.errors import StoreError

if TYPE_CHECKING:
    from db.history import History

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
IDLE_TIMEOUT = 30
"""seconds after which PostgreSQL ends a writer that idles in a transaction, and frees its locks"""


def require_url(text: str) -> None:
    """Raise StoreError for unknown parameters, and for an unescaped @, ? or & that may be the password's."""
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


def engine_of(url: URL, gives_up: Callable[[float], bool] | None = None) -> Engine:
    """An engine for the database; connects to nothing yet. `gives_up`: see `db.backends.connection`."""
    # A lost server is noticed within about half a minute: by keep-alives on an idle connection, by
    # TCP_USER_TIMEOUT (in milliseconds) on one with data in flight.
    ours: dict[str, Any] = {
        "connect_timeout": 10,
        "application_name": "epoch-ledger",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 30_000,
    }
    unset = {name: value for name, value in ours.items() if name not in url.query}
    engine = create_engine(url, pool_size=2, connect_args={"client_encoding": "utf8"} | unset)
    if gives_up is not None:
        from db.backends.connection import connect

        event.listen(engine, "do_connect", lambda _, __, args, kwargs: connect(gives_up, *args, **kwargs))
    event.listen(engine, "connect", _require_utf8)
    event.listen(engine, "begin", _begin)
    return engine


def _require_utf8(connection: Any, _record: Any) -> None:
    encoding, name = connection.info.parameter_status("server_encoding"), connection.info.dbname
    if encoding not in (None, "UTF8"):  # a pooler may not pass it on
        connection.close()
        raise StoreError(
            f"the encoding of the database {name} is {encoding}, which cannot hold every name; make another: "
            f"CREATE DATABASE \"{name}_utf8\" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
        )


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("write", False):
        # For this transaction only: a connection pooler may give the session to other clients.
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s'")


def is_transient(error: BaseException | None) -> bool:
    """Whether a retry may succeed: no server was reached, or it ended the session or the transaction."""
    state = getattr(error, "sqlstate", None)
    if state is None:  # psycopg reached no server, or the login failed
        if any(reason in str(error) for reason in REFUSED):
            return False
        return type(error).__name__ in ("OperationalError", "ConnectionTimeout", "InterfaceError")
    # Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, rollback
    # (deadlock, serialisation), too many connections, operator intervention (shutdown, start-up), and a
    # session that was ended because it idled in a transaction.
    return state[:2] in ("08", "40") or state in ("53300", "25P03") or state[:3] == "57P"


def insert_epochs(connection: Connection, run_id: int, model: str, history: History) -> None:
    """Insert epochs by one binary COPY: four fifths less time than SQLAlchemy's bulk insert."""
    import psycopg  # readers and SQLite do not need it

    driver = connection.connection.driver_connection
    assert driver is not None
    columns, rows_as_bytes = binary_rows(run_id, model, history)  # before COPY: no timeout ends an idle one
    statement = f"COPY epochs ({', '.join(columns)}) FROM STDIN WITH (FORMAT binary)"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(rows_as_bytes)
    except psycopg.Error as error:  # SQLAlchemy does not wrap errors of the driver's own cursor
        raise DBAPIError(statement, None, error, connection_invalidated=driver.closed) from error


def binary_rows(run_id: int, model: str, history: History) -> tuple[Sequence[str], bytes]:
    """The columns of the epochs, and all rows in PostgreSQL's binary COPY format, as all have one size.

    A row is the number of its fields, then each field's length and value, all big-endian. An array value is
    its number of dimensions, a flag, the element type (700 is float4), the dimension's size and first index,
    and the elements, each again with its length. (https://www.postgresql.org/docs/current/sql-copy.html, File
    Formats, and `array_send` in PostgreSQL's source.)
    """
    import numpy as np

    count, parameters = history.parameters.shape
    name = model.encode()
    element = np.dtype([("size", ">i4"), ("value", ">f4")])
    array = np.dtype([("head", ">i4", 5), ("elements", element, parameters)])
    types = {
        "run_id": ">i8",
        "model": f"S{len(name)}",
        "epoch": ">i4",
        "train_loss": ">f8",
        "test_loss": ">f8",
        "parameters": array,
        "trained_at": ">f8",
    }
    fields = [(column, [("size", ">i4"), ("value", type_)]) for column, type_ in types.items()]
    rows = np.zeros(count, np.dtype([("fields", ">i2"), *fields]))
    rows["fields"] = len(types)
    for column in types:
        rows[column]["size"] = rows.dtype[column]["value"].itemsize
    rows["run_id"]["value"], rows["model"]["value"] = run_id, name
    for column in ("epoch", "train_loss", "test_loss", "trained_at"):
        rows[column]["value"] = getattr(history, column)
    vectors = rows["parameters"]["value"]
    vectors["head"] = (1, 0, 700, parameters, 1)
    vectors["elements"]["size"], vectors["elements"]["value"] = 4, history.parameters
    return list(types), b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"


def size(connection: Connection) -> int:
    """Bytes of the schema's tables and indexes, with the space that PostgreSQL will use again."""
    tables = "SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    return int(
        connection.exec_driver_sql(
            f"SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM ({tables}) AS own"  # noqa: S608
        ).scalar_one()
    )
