"""One query on a SQLite store, in a connection that can only read.

SQLite enforces this twice: the file is opened read-only, and an authorizer refuses, while a statement is
compiled, every action except reading tables and calling functions. A progress handler stops the query between
two instructions of SQLite's virtual machine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from db.backends.sqlite import reading_url
from db.backends.watch import Row, Watch
from db.errors import QueryError

ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
STEPS = 10_000
"""instructions of SQLite's virtual machine between two stop checks: well under a millisecond"""
LARGEST_VALUE = 16 * 2**20
"""most bytes of one value"""
PATIENCE = 5.0
"""seconds to wait for a file that another process has locked"""


def fetch(
    url: URL, query: str, parameters: Mapping[str, Any], limit: int | None, watch: Watch
) -> Generator[Row, None, None]:
    """Column names and then at most `limit` rows. Raises QueryError."""
    assert url.database
    file = Path(url.database).absolute().as_uri()
    closed = "&immutable=1" if reading_url(url) is not url else ""  # see there
    connection = sqlite3.connect(f"{file}?mode=ro{closed}", uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        # Their first use declares their columns with a CREATE TABLE, which the authorizer would refuse.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(watch.over.is_set, STEPS)
        cursor = connection.execute(query, parameters)
        if cursor.description is None:
            raise QueryError("the query is empty")
        yield tuple(column[0] for column in cursor.description)
        yield from islice(cursor, limit)
    except sqlite3.Error as error:
        refused = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_AUTH
        why = "only reading is allowed here" if refused else "the database refused the query"
        raise QueryError(f"{why}: {error}") from error
    except sqlite3.Warning as error:  # several statements in one, up to Python 3.11
        raise QueryError(f"not one query: {error}") from error
    except (OverflowError, ValueError) as error:  # a value or a character that SQLite cannot hold
        raise QueryError(f"the query or a parameter cannot be used: {error}") from error
    finally:
        connection.close()


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    # SQLite names the function in the second argument.
    if action in ALLOWED and second != "load_extension":
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
