"""The schema's version, read without Alembic, which is slow to import and only needed for migrations."""

from __future__ import annotations

from sqlalchemy import Connection, inspect

from db.errors import StoreError

VERSION_TABLE = "ledger_version"
HEAD = "0008"
"""the newest revision in migrations/versions; revisions are numbered"""


def current(connection: Connection) -> str | None:
    """The revision of a store; None for an empty database. Raises StoreError if our table names are taken."""
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
    from db.schema import Base  # not at the top: the mapper is slow to import

    taken = sorted(tables & set(Base.metadata.tables))
    if taken:
        raise StoreError(
            f"the database already has tables named {', '.join(taken)} that are not this project's; "
            "use another database"
        )
    return None


def require_head(connection: Connection) -> bool:
    """True if the schema is current, False for an empty database. Raises StoreError if older or newer."""
    revision = current(connection)
    if revision in (None, HEAD):
        return revision is not None
    if revision < HEAD:
        raise StoreError(
            f"the store has schema {revision} and this version needs {HEAD}; run: job db upgrade"
        )
    raise StoreError(
        f"the store has schema {revision} and this version knows only {HEAD}: "
        "a newer epoch-ledger wrote it; install that one"
    )
