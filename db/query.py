"""Runs SQL queries on the store, read-only: the named queries of `db/queries` and the user's own.

The database enforces read-only access, not a check of the text: see `db.backends.sqlite.fetch` and
`db.backends.postgresql_query`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from sqlalchemy.engine import URL

from db.backends import placeholders, sqlite
from db.backends.query_limits import Row, Watch, memory_limit
from db.errors import QueryError, QueryStoppedError

FOLDER = Path(__file__).resolve().parent / "queries"
TIMEOUT = 30.0
"""seconds that a query may take"""
LIMIT = 1000
"""most rows of an answer"""
MAX_BYTES = 256_000_000
"""most bytes that an answer may take in memory"""
Value = int | float | str | None
_PARAMETER = re.compile(r"^-- :(?P<name>\w+)(?: = (?P<default>\S+))? +(?P<help>.+)$")


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query; values are int, float, str, bool, datetime, list, dict or None."""

    columns: tuple[str, ...]
    rows: list[Row]
    more: bool
    """whether the query had more rows than the limit"""


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A query of `db/queries`: its text, its question, and its parameters."""

    name: str
    question: str
    parameters: dict[str, str]
    """name to description"""
    defaults: dict[str, Value]
    sql: str


def names() -> list[str]:
    """The names of the named queries."""
    return sorted(path.stem for path in FOLDER.glob("*.sql"))


def named_queries() -> list[NamedQuery]:
    """All named queries, by name."""
    return [named_query(name) for name in names()]


@cache
def named_query(name: str) -> NamedQuery:
    """The query of that name; both databases share its text. Raises QueryError, listing the known names."""
    if name not in names():
        raise QueryError(f"there is no query {name!r}; there are {', '.join(names())}")
    sql = (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    comment = [line for line in sql.splitlines() if line.startswith("--")]
    declared = [match for line in comment if (match := _PARAMETER.match(line))]
    return NamedQuery(
        name=name,
        question=comment[0].removeprefix("--").strip(),
        parameters={match["name"]: match["help"] for match in declared},
        defaults={match["name"]: read_value(match["default"]) for match in declared if match["default"]},
        sql=sql,
    )


def read_value(text: str) -> Value:
    """A parameter's value from its text: `null`, an integer, a float, or the text itself."""
    if text.lower() == "null":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def run_query(
    url: URL,
    sql: str,
    parameters: Mapping[str, Value] | None = None,
    *,
    limit: int | None = LIMIT,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
    memory: int | None = None,
    take: Callable[[Iterator[Row]], object] | None = None,
) -> Answer:
    """The answer of the store at `url` to one query, on a separate read-only connection.

    `limit` None returns all rows. `take` gets an iterator over the column names and then the rows, as they
    arrive; the Answer then has none.

    Raises QueryError for a query that is wrong or does more than read, or whose parameters are not exactly
    those given, and QueryStoppedError after `timeout` seconds of waiting for the database, or if the answer
    takes more than `max_bytes` of memory, or the process more than `memory` bytes in addition to those that
    it has (on Linux).
    """
    given = dict(parameters or {})
    wanted = placeholders.names(sql)
    for name in wanted:
        if name not in given:
            raise QueryError(f"the query has a parameter :{name}; give it with --param {name}=VALUE")
    for name in given:
        if name not in wanted:
            listed = ", ".join(f":{known}" for known in wanted) or "none"
            raise QueryError(f"the query has no parameter :{name}; its parameters: {listed}")
    if url.get_backend_name() == "sqlite":
        fetch = sqlite.fetch
    else:
        from db.backends import postgresql_query  # loads its driver

        fetch = postgresql_query.fetch
    watch = Watch(timeout, max_bytes)
    source = fetch(url, sql, given, None if limit is None else limit + 1, watch)
    return answer(watch, source, limit, memory, take)


def answer(
    watch: Watch,
    source: Generator[Row, None, None],
    limit: int | None = LIMIT,
    memory: int | None = None,
    take: Callable[[Iterator[Row]], object] | None = None,
) -> Answer:
    """The answer whose column names and rows `source` gives, within what `watch` allows; see `run_query`."""
    kept: list[Row] = []
    more = False

    def rows() -> Iterator[Row]:
        nonlocal more
        for count, row in enumerate(chain.from_iterable(parts)):  # the first has the column names
            if limit is not None and count > limit:
                more = True
            else:
                yield row

    try:
        with closing(watch.rows(source)) as parts, memory_limit(memory):
            (take or kept.extend)(rows())
    except MemoryError:
        raise QueryStoppedError(
            f"the answer takes more memory than --max-bytes {watch.max_bytes} allows; "
            "--limit asks for fewer rows"
        ) from None
    except RecursionError:
        raise QueryError("the answer has JSON that is nested too deeply; cast it to text") from None
    return Answer(kept[0] if kept else (), kept[1:], more)
