"""One query on a PostgreSQL store, in a connection that can do nothing but read.

What the server enforces, whoever is connected:

* The query is one statement: the server's parser is asked for its columns, and refuses several.
* It is a query: the server must be able to make a view of it, which it refuses for every other command and
  for a WITH that changes rows.
* It calls no function that the server knows as volatile, a few harmless ones excepted: these are the ones
  with side effects (nextval, set_config, pg_advisory_lock, pg_terminate_backend, lo_import) or a way around
  the rest (pg_read_file, query_to_xml, dblink). The view's stored parse tree names every function by number.
* It runs in a transaction that has become READ ONLY and has taken a snapshot, after which the server lets
  nobody turn it back.
* It runs as a role that can only SELECT. SET ROLE alone would not do: RESET ROLE undoes it. So the query runs
  inside a SECURITY DEFINER function of that role, where the server refuses to change the role at all.
* statement_timeout, armed before the query starts, ends it.

The function and the view are temporary, and the transaction that makes them is always rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from db import placeholders
from db.errors import QueryError, QueryTimeoutError, StoreFailedError
from db.reader_role import become_reader, provide_reader

HARMLESS = (
    *("random", "clock_timestamp", "timeofday", "gen_random_uuid"),
    *("pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size", "pg_database_size"),
)
"""volatile functions of PostgreSQL's own that change nothing: their result varies, that is all"""

ASK = """
CREATE FUNCTION pg_temp.ledger_ask(query text, parameters text[], most bigint) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    answer record;
    given bigint := 0;
BEGIN
    FOR answer IN EXECUTE query USING parameters LOOP
        EXIT WHEN given = most;
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
TEXT_ARRAY = 1009
"""PostgreSQL's number for the type text[]"""


def fetch(
    url: URL, query: str, parameters: Mapping[str, Any], limit: int | None, timeout: float
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and at most `limit` rows. Raises QueryError and QueryTimeoutError."""
    try:
        with _connect(url) as connection:
            with connection.transaction():
                provide_reader(connection)
            with connection.transaction(force_rollback=True):
                # Compiling a query of a tenth of a second takes as long again. For the transaction alone:
                # poolers let few settings through at the start of a session.
                connection.execute("SET LOCAL jit = off")
                become_reader(connection)
                return _fetch(connection, query.rstrip("; \n\t"), parameters, limit, timeout)
    except psycopg.errors.QueryCanceled as error:
        raise QueryTimeoutError(
            f"the query was stopped after {timeout:g} s; --timeout allows more"
        ) from error
    except psycopg.Error as error:
        said = first_line(error)
        if error.sqlstate is None or error.sqlstate[:2] in ("08", "57"):
            raise StoreFailedError(f"the database did not answer: {said}") from error
        raise QueryError(f"the database refused the query: {said}") from error


def _connect(url: URL) -> psycopg.Connection:
    return psycopg.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False),
        connect_timeout=10,
        application_name="epoch-ledger query",
        autocommit=True,
        options="-c timezone=UTC",
    )


def _fetch(
    connection: psycopg.Connection,
    query: str,
    parameters: Mapping[str, Any],
    limit: int | None,
    timeout: float,
) -> tuple[list[str], list[tuple[Any, ...]]]:
    text, values = numbered(query, parameters)
    names, types = describe(connection, text)
    refuse_side_effects(connection, query, parameters)
    connection.execute(ASK)
    connection.execute("SET TRANSACTION READ ONLY")
    connection.execute(
        "SELECT set_config('statement_timeout', %s, true)", [str(max(1, round(timeout * 1000)))]
    )
    columns = sql.SQL(", ").join(
        sql.SQL("{} " + kind).format(sql.Identifier(f"c{i}")) for i, kind in enumerate(types)
    )
    call = sql.SQL("SELECT * FROM pg_temp.ledger_ask(%s, %s::text[], %s::bigint) AS answer ({})").format(
        columns
    )
    return names, connection.execute(call, [text, values, limit]).fetchall()


def numbered(query: str, parameters: Mapping[str, Any]) -> tuple[str, list[str | None]]:
    """The query with each `:name` as a typed element of the one text array $1, and that array."""
    order = placeholders.names(query)

    def element(name: str) -> str:
        if parameters[name] is None:  # of no type, so that it fits everywhere
            return "NULL"
        return cast(f"$1[{order.index(name) + 1}]", parameters[name])

    values = [None if parameters[name] is None else str(parameters[name]) for name in order]
    return placeholders.replace(query, element), values


def cast(expression: str, value: Any) -> str:
    """The expression as the SQL type of the parameter's value."""
    return f"CAST({expression} AS {CASTS[type(value)]})"


def describe(connection: psycopg.Connection, query: str) -> tuple[list[str], list[str]]:
    """Names and SQL types of the columns of one statement, which is parsed and not run."""
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
    """Raises QueryError for what is no query, changes rows, or calls a function with side effects."""

    def element(name: str) -> str:  # a view has no parameters; only their types matter here
        return "NULL" if parameters[name] is None else cast("NULL", parameters[name])

    # Inside EXISTS, columns need no names of their own.
    view = f"CREATE TEMP VIEW ledger_query AS SELECT EXISTS (\n{placeholders.replace(query, element)}\n)"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(view.encode(), prepare=True)  # prepared: the server takes one statement only
            volatile = [row[0] for row in connection.execute(VOLATILE_FUNCTIONS, [list(HARMLESS)])]
    except psycopg.Error as error:
        raise QueryError(f"only reading is allowed here: {first_line(error)}") from error
    if volatile:
        raise QueryError(f"only reading is allowed here: {', '.join(volatile)} can have side effects")


def first_line(error: psycopg.Error) -> str:
    """What the server said, without the position and the context."""
    return str(error).strip().partition("\n")[0]
