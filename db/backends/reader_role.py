"""The PostgreSQL role that can only read the ledger's tables."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from db.schema import Base
from db.version import VERSION_TABLE

READER = "epoch_ledger_reader"
RELATIONS = (*Base.metadata.tables, VERSION_TABLE, "parameter_history", "parity_history")


def provide_reader(connection: psycopg.Connection) -> None:
    """Create the reader role if it is missing and let it read, as far as the current role's rights go."""
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        _provide(connection)


def become_reader(connection: psycopg.Connection) -> str:
    """Switch to the reader role for the rest of the transaction; return the role then in force.

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
    return str(role)


def _provide(connection: psycopg.Connection) -> None:
    """Create the role and grant it what is missing."""
    reader = sql.Identifier(READER)
    if not _true(connection, "SELECT count(*) = 1 FROM pg_roles WHERE rolname = %s", READER):
        if not _true(
            connection, "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ):
            return
        another_was_first = (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation)
        with suppress(*another_was_first), connection.transaction():
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(reader))
    if not _true(connection, "SELECT has_schema_privilege(%s, current_schema(), 'USAGE')", READER):
        (schema,) = _row(connection, "SELECT current_schema()")
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), reader))
    for name in RELATIONS:
        if not _true(connection, "SELECT has_table_privilege(%s, %s, 'SELECT')", READER, name):
            connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(name), reader))
    if not _may_become(connection):
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(reader))


def _may_become(connection: psycopg.Connection) -> bool:
    # Since PostgreSQL 16 a member may lack the right to SET ROLE; before, every member had it.
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    return _true(connection, "SELECT pg_has_role(%s, %s)", READER, right)


def _true(connection: psycopg.Connection, query: str, *parameters: str) -> bool:
    return bool(_row(connection, query, *parameters)[0])


def _row(connection: psycopg.Connection, query: str, *parameters: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row
