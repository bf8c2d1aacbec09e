"""How Alembic compares the live schema with `db.schema`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

from db.types import SignedZeroReal


def compare_type(
    context: Any,
    inspected: Column[Any],
    expected: Column[Any],
    inspected_type: TypeEngine[Any],
    expected_type: TypeEngine[Any],
) -> bool | None:
    """False (no difference) for our own type, which SQLAlchemy cannot read back; None defers to Alembic."""
    if context.dialect.name == "sqlite" and isinstance(
        expected_type.dialect_impl(context.dialect), SignedZeroReal
    ):
        return False
    return None


COMPARISON: dict[str, Any] = {
    "compare_type": compare_type,
    "compare_server_default": True,
    "render_as_batch": True,
}
