"""One query on a PostgreSQL store, in a connection that can only read.

The server enforces, whoever is connected:

* The query is one statement: it is prepared to learn its columns, and the server prepares no more than one.
* It is a query: the server must accept it as a view, which it refuses for every other command and for a WITH
  that changes rows.
* It calls no volatile function except a few harmless ones: the volatile ones include those with side effects
  (nextval, set_config, pg_advisory_lock, pg_terminate_backend, lo_import) and ways around the other rules
  (pg_read_file, query_to_xml, dblink). The view's stored parse tree names every function by number.
* Its transaction is READ ONLY and has a snapshot, after which the server refuses to make it writable again.
* It runs as a role that can only SELECT. SET ROLE alone is not enough: RESET ROLE undoes it. So the query
  runs inside a SECURITY DEFINER function of that role, where the server refuses to change the role at all.
* statement_timeout ends it, and so does a lost client, whenever the server checks for interrupts; within a
  single function call it may not check for long. The answer's size and temporary files are bounded.

The function and the view are temporary, and the transaction that makes them is always rolled back.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.string import TextLoader
from sqlalchemy.engine import URL

from db.backends import placeholders
from db.backends.query_limits import GRACE, Row, Watch
from db.errors import QueryError, StoreFailedError
from db.schema import Base
from db.version import VERSION_TABLE

READER = "epoch_ledger_reader"
"""the role that can only read the ledger's tables"""
RELATIONS = (*Base.metadata.tables, VERSION_TABLE, "parameter_history", "parity_history")
HARMLESS = (
    *("random", "clock_timestamp", "timeofday", "gen_random_uuid"),
    *("pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size", "pg_database_size"),
)
"""PostgreSQL's own volatile functions without side effects: only their result varies"""

TEMPORARY_FILES = "1GB"
"""limit of a query's temporary files, if the role may set it"""
TOO_LARGE = "EL001"
ASK = f"""
CREATE FUNCTION pg_temp.ledger_ask(query text, parameters text[], most bigint, bytes bigint)
RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    answer record;
    given bigint := 0;
BEGIN
    FOR answer IN EXECUTE query USING parameters LOOP
        EXIT WHEN given = most;
        bytes := bytes - pg_column_size(answer);
        IF bytes < 0 THEN
            RAISE EXCEPTION 'too large' USING ERRCODE = '{TOO_LARGE}';
        END IF;
        RETURN NEXT answer;
        given := given + 1;
    END LOOP;
END $$
"""
VOLATILE_FUNCTIONS = """
SELECT DISTINCT f.oid::regproc::text
FROM pg_rewrite r,
    regexp_matches(r.ev_action::text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') AS found,
    pg_proc f
WHERE r.ev_class = 'pg_temp.ledger_query'::regclass AND f.oid = found[1]::oid AND f.provolatile = 'v'
    AND NOT (f.pronamespace = 'pg_catalog'::regnamespace AND f.proname::text = ANY (%s))
ORDER BY 1
"""
CASTS = {bool: "boolean", int: "bigint", float: "double precision", str: "text"}
AS_TEXT = {*("date", "time", "timetz", "timestamp", "interval"), *("uuid", "inet", "cidr", "record")}
"""types, besides ranges, of which values are given as the server writes them"""
TEXT_ARRAY = 1009
"""PostgreSQL's OID of the type text[]"""


class MomentLoader(TimestamptzLoader):
    """Reads a moment as datetime; infinity, and years before 1 or after 9999, as text."""

    def load(self, data: Any) -> Any:
        """The value of what the server sent."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


def fetch(
    url: URL, query: str, parameters: Mapping[str, Any], limit: int | None, watch: Watch
) -> Generator[Row, None, None]:
    """Column names and then at most `limit` rows. Raises QueryError, or MemoryError if they are too large."""
    try:
        with _connect(url) as connection:
            watch.cancel = lambda: _cancel(connection)
            process = connection.info.backend_pid
            watch.lives = f"; the server's process {process} has not heeded the cancel and may run on"
            with connection.transaction():
                _set(connection, "statement_timeout", f"{watch.timeout + GRACE:g}s")
                provide_reader(connection)
            with connection.transaction(force_rollback=True):
                _bound(connection, watch.timeout)
                become_reader(connection)
                yield from _fetch(connection, query.rstrip("; \n\t"), parameters, limit, watch.max_bytes)
    except UnicodeEncodeError as error:
        raise QueryError(f"the query or a parameter cannot be used: {error}") from error
    except ValueError as error:  # JSON with an integer of thousands of digits
        raise QueryError(f"a value cannot be read; cast it to text: {error}") from error
    except psycopg.Error as error:
        said = first_line(error)
        if error.sqlstate == TOO_LARGE or (error.sqlstate is None and "memory" in said):  # libpq's
            raise MemoryError from None
        if error.sqlstate is None or (error.sqlstate[:2] in ("08", "57") and error.sqlstate != "57014"):
            raise StoreFailedError(f"the database did not answer: {said}") from error
        raise QueryError(f"the database refused the query: {said}") from error


def _connect(url: URL) -> psycopg.Connection:
    # Keywords, not a URL: libpq's messages would repeat the URL with its password.
    given: dict[str, Any] = {"connect_timeout": 10, "application_name": "epoch-ledger query"}
    given.update(url.get_dialect()().create_connect_args(url)[1], client_encoding="utf8")
    options = f"{given.pop('options', '')} -c timezone=UTC -c datestyle=ISO"
    connection = psycopg.connect(**given, options=options, autocommit=True)
    for info in connection.adapters.types:
        if info.name in AS_TEXT or info.name.endswith("range"):
            connection.adapters.register_loader(info.name, TextLoader)
    connection.adapters.register_loader("timestamptz", MomentLoader)
    return connection


def _cancel(connection: psycopg.Connection) -> None:
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=GRACE)


def _set(connection: psycopg.Connection, name: str, value: str) -> None:
    """Set a parameter for this transaction only: a pooler may give the session to other clients."""
    connection.execute("SELECT set_config(%s, %s, true)", [name, value])


def _bound(connection: psycopg.Connection, timeout: float) -> None:
    """Limit the server's work in this transaction, even if no client is left to cancel it."""
    _set(connection, "statement_timeout", f"{timeout + GRACE:g}s")
    # Compiling a query that runs for a tenth of a second takes as long again.
    _set(connection, "jit", "off")
    if connection.info.server_version >= 140000:
        _set(connection, "client_connection_check_interval", "1s")
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():  # only a superuser may
        _set(connection, "temp_file_limit", TEMPORARY_FILES)


def _fetch(
    connection: psycopg.Connection,
    query: str,
    parameters: Mapping[str, Any],
    limit: int | None,
    max_bytes: int,
) -> Generator[Row, None, None]:
    text, values = numbered(query, parameters)
    names, types = column_types(connection, text)
    yield tuple(names)
    refuse_side_effects(connection, query, parameters)
    connection.execute(ASK)
    connection.execute("SET TRANSACTION READ ONLY")
    columns = {f"c{i}": kind for i, kind in enumerate(types)}
    # The casts give values of a domain its base type, which is what the server has described.
    casts = ", ".join(f"CAST({name} AS {kind})" for name, kind in columns.items())
    text = f"SELECT {casts} FROM (\n{text}\n) AS answer ({', '.join(columns)})"  # noqa: S608
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    call = f"SELECT * FROM pg_temp.ledger_ask(%s, %s::text[], %s, %s) AS answer ({declared})"  # noqa: S608
    with connection.cursor("ledger_answer") as cursor:
        cursor.execute(call.encode(), [text, values, limit, max_bytes])
        yield from cursor.fetchmany(1)  # for this row, the server computes the whole answer
        _set(connection, "statement_timeout", "0")  # from here on it waits for our reader
        yield from connection.cursor().stream("FETCH ALL FROM ledger_answer")


def numbered(query: str, parameters: Mapping[str, Any]) -> tuple[str, list[str | None]]:
    """The query with each `:name` replaced by a typed element of the text array $1, and that array."""
    order = placeholders.names(query)

    def element(name: str) -> str:
        if parameters[name] is None:  # untyped, so that it fits everywhere
            return "NULL"
        return cast(f"$1[{order.index(name) + 1}]", parameters[name])

    values = [None if parameters[name] is None else str(parameters[name]) for name in order]
    return placeholders.replace(query, element), values


def cast(expression: str, value: Any) -> str:
    """The expression, cast to the SQL type of the parameter's value."""
    return f"CAST({expression} AS {CASTS[type(value)]})"


def column_types(connection: psycopg.Connection, query: str) -> tuple[list[str], list[str]]:
    """Names and SQL types of the columns of one statement, which is parsed but not run."""
    link = connection.pgconn
    prepared = link.prepare(b"ledger_query", query.encode(), [TEXT_ARRAY])
    if prepared.status == psycopg.pq.ExecStatus.COMMAND_OK:
        described = link.describe_prepared(b"ledger_query")
    else:
        raise psycopg.errors.error_from_result(prepared)
    if not described.nfields:
        raise QueryError("only a query that gives columns can be asked here")
    names = [(described.fname(i) or b"").decode() for i in range(described.nfields)]
    kinds = [
        connection.execute("SELECT format_type(%s, %s)", [described.ftype(i), described.fmod(i)]).fetchone()
        for i in range(described.nfields)
    ]
    return names, [kind[0] for kind in kinds if kind]


def refuse_side_effects(connection: psycopg.Connection, query: str, parameters: Mapping[str, Any]) -> None:
    """Raises QueryError for what is not a query, changes rows, or calls a function with side effects."""

    def element(name: str) -> str:  # a view has no parameters; only their types matter
        return "NULL" if parameters[name] is None else cast("NULL", parameters[name])

    # Inside EXISTS, column names need not be unique.
    view = f"CREATE TEMP VIEW ledger_query AS SELECT EXISTS (\n{placeholders.replace(query, element)}\n)"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(view.encode(), prepare=True)  # prepared: one statement only
            volatile = [row[0] for row in connection.execute(VOLATILE_FUNCTIONS, [list(HARMLESS)])]
    except psycopg.Error as error:
        raise QueryError(f"only reading is allowed here: {first_line(error)}") from error
    if volatile:
        raise QueryError(f"only reading is allowed here: {', '.join(volatile)} can have side effects")


def first_line(error: psycopg.Error) -> str:
    """The server's message, without position and context."""
    return str(error).strip().partition("\n")[0]


def become_reader(connection: psycopg.Connection) -> None:
    """Switch to the reader role for the rest of the transaction.

    If that is not allowed, the current role stays; raises InsufficientPrivilege if it is a superuser's.
    """
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue)
    with suppress(*refused), connection.transaction():  # a savepoint: a refusal aborts only that
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(READER)))
    role, superuser = _row(
        connection, "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    if superuser:
        raise psycopg.errors.InsufficientPrivilege(f"{role} is a superuser, and there is no role {READER}")


def provide_reader(connection: psycopg.Connection) -> None:
    """Create the reader role if it is missing and let it read, as far as the current role's rights go."""
    reader = sql.Identifier(READER)
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        if not _true(connection, "SELECT count(*) = 1 FROM pg_roles WHERE rolname = %s", READER):
            may_create = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
            if not _true(connection, may_create):
                return
            another_was_first = (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation)
            with suppress(*another_was_first), connection.transaction():
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(reader))
        if not _true(connection, "SELECT has_schema_privilege(%s, current_schema(), 'USAGE')", READER):
            schema = sql.Identifier(_row(connection, "SELECT current_schema()")[0])
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, reader))
        for name in RELATIONS:
            if not _true(connection, "SELECT has_table_privilege(%s, %s, 'SELECT')", READER, name):
                connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(name), reader))
        # Since PostgreSQL 16 a member may lack the right to SET ROLE; before, every member had it.
        right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
        if not _true(connection, "SELECT pg_has_role(%s, %s)", READER, right):
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(reader))


def _true(connection: psycopg.Connection, query: str, *parameters: str) -> bool:
    return bool(_row(connection, query, *parameters)[0])


def _row(connection: psycopg.Connection, query: str, *parameters: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row
