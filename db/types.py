"""Column types that keep float32 exact, and the database's clock, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, JSON, REAL, DateTime, Dialect, Double, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement, FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

if TYPE_CHECKING:
    from db.history import Float32s


def pack(vectors: Float32s) -> list[str]:
    """One JSON array a row, of the shortest decimals that give back the same float32.

    `vectors` is float32 [n, p]. A reader that parses a number as a double and rounds it to float32, as
    JSON readers do, gets the same bits. For a few values, such as 7.038531e-26, the shortest decimal does not
    survive these two roundings; their row is written in full double precision.
    """
    import numpy as np  # not at the top: commands that read no epochs start in half the time
    import orjson

    if not len(vectors):
        return []
    text = orjson.dumps(np.ascontiguousarray(vectors), option=orjson.OPT_SERIALIZE_NUMPY)
    rows = [f"[{row}]" for row in text.decode()[2:-2].split("],[")]
    read_back = np.array(orjson.loads(text), np.float64).astype(np.float32)
    for i in np.flatnonzero((read_back.view(np.uint32) != vectors.view(np.uint32)).any(axis=1)):
        rows[i] = orjson.dumps(vectors[i].tolist()).decode()
    return rows


def unpack(rows: Sequence[str]) -> Float32s:
    """float32 [n, p] from the n JSON arrays of `pack`. Raises ValueError if a row is not such an array."""
    import numpy as np
    import orjson

    values = np.array([orjson.loads(row) for row in rows], np.float64)
    if values.ndim != 2:
        raise ValueError("the parameters are not one JSON array of numbers")
    return values.astype(np.float32)


def first_not_packed(rows: Sequence[str], vectors: Float32s) -> int | None:
    """The first of n JSON arrays with other numbers than `pack`, or an earlier version, wrote for its vector.

    `vectors`, float32 [n, p], are what `unpack` reads from `rows`; it reads other numbers as the same float32
    too. None if there is no such array.
    """
    import numpy as np
    import orjson

    text = orjson.dumps(np.ascontiguousarray(vectors), option=orjson.OPT_SERIALIZE_NUMPY)
    if text.decode() == f"[{','.join(rows)}]":
        return None
    for i, (found, written, vector) in enumerate(zip(rows, pack(vectors), vectors, strict=True)):
        if found != written and orjson.loads(found) not in (orjson.loads(written), vector.tolist()):
            return i
    return None


class PackedVector(TypeDecorator[Any]):
    """A vector of float32: `real[]` on PostgreSQL, a JSON array as text on SQLite."""

    impl = Text().with_variant(ARRAY(REAL), "postgresql")
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """What a SELECT asks for."""
        return in_full(column)


class in_full(FunctionElement[Any]):  # noqa: N801
    """A vector of float32 as PostgreSQL gives it in double precision.

    Of `real[]` it sends the shortest decimals, and for a few values (7.038531e-26) a double that is read from
    such a decimal rounds to another float32.
    """

    inherit_cache = True


@compiles(in_full, "postgresql")
def _in_full_on_postgresql(element: in_full, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS double precision[])"


@compiles(in_full, "sqlite")
def _in_full_on_sqlite(element: in_full, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


class JsonObject(TypeDecorator[Any]):
    """A JSON object: `jsonb` on PostgreSQL, text on SQLite."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type on each database."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON())
        from sqlalchemy.dialects.postgresql import JSONB  # imports every driver's dialect

        return dialect.type_descriptor(JSONB())


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: `timestamptz` on PostgreSQL, ISO text on SQLite; aware in Python on both."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Make what the database returns aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class database_now(FunctionElement[datetime]):  # noqa: N801 - named like the SQL functions
    """The current time by the database's clock, which all trainers share."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(database_now, "postgresql")
def _now_on_postgresql(element: database_now, compiler: SQLCompiler, **_: Any) -> str:
    return "clock_timestamp()"


@compiles(database_now, "sqlite")
def _now_on_sqlite(element: database_now, compiler: SQLCompiler, **_: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f', 'now')"


class seconds_since(FunctionElement[float]):  # noqa: N801
    """Seconds since the time in a column, by the database's clock."""

    type = Double()
    inherit_cache = True


@compiles(seconds_since, "postgresql")
def _seconds_on_postgresql(element: seconds_since, compiler: SQLCompiler, **kw: Any) -> str:
    return f"extract(epoch FROM clock_timestamp() - {compiler.process(element.clauses, **kw)})"


@compiles(seconds_since, "sqlite")
def _seconds_on_sqlite(element: seconds_since, compiler: SQLCompiler, **kw: Any) -> str:
    return f"((julianday('now') - julianday({compiler.process(element.clauses, **kw)})) * 86400)"
