"""docs/schema.md describes the live schema, and its example questions are answered, on both databases."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import inspect

from db.query import run_query
from db.store import Store
from tests.conftest import ROOT
from tests.samples import dataset_row, history

PAGE = (ROOT / "docs" / "schema.md").read_text()
SAME = {"DATETIME": "TIMESTAMP", "DOUBLE PRECISION": "DOUBLE", "JSONB": "JSON"}


def sections() -> dict[str, str]:
    """The page's text by table or view."""
    parts = re.split(r"^## `(\w+)`$", PAGE.partition("\n## Five")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def columns(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def type_of(column: Any) -> str:
    """A live column's type as the page writes it."""
    if hasattr(column["type"], "item_type"):
        return f"{column['type'].item_type}[]"
    name = str(column["type"]).removesuffix(" WITH TIME ZONE")
    return SAME.get(name, name)


def test_every_table_and_column_is_described_as_it_is(store: Store) -> None:
    live = inspect(store.engine)
    here = store.path is None  # the second of two types
    tables = set(live.get_table_names()) - {"ledger_version"}
    assert set(sections()) == tables | set(live.get_view_names())
    for table in sorted(tables):
        found = [
            (column["name"], type_of(column), "yes" if column["nullable"] else "no")
            for column in live.get_columns(table)
        ]
        said = [
            (name, kinds.split(" / ")[-1 if here else 0], null)
            for name, kinds, null, _ in columns(sections()[table])
        ]
        assert said == found, table
        indexes = {
            index["name"] for index in live.get_indexes(table) if not index.get("duplicates_constraint")
        }
        assert set(re.findall(r"`((?:ix|uq)_\w+)`", sections()[table])) == indexes, table
    for view in live.get_view_names():
        assert [name for name, _ in columns(sections()[view])] == [c["name"] for c in live.get_columns(view)]


def test_the_diagram_has_every_foreign_key_and_no_other(store: Store) -> None:
    live = inspect(store.engine)
    keys = sorted(
        (key["referred_table"], table)
        for table in live.get_table_names()
        for key in live.get_foreign_keys(table)
    )
    drawn = re.findall(r"^    (\w+) [|o}{-]+ (\w+) :", PAGE, re.MULTILINE)
    assert sorted(drawn) == keys


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.+?)```", PAGE, re.DOTALL))
def test_every_question_is_answered(store: Store, sql: str) -> None:
    writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={})
    for model in ("paddle", "python"):
        writer.append(model, history(5))
    found = run_query(store.url, sql)
    assert found.columns
    assert found.rows or "verdicts" in sql or "LSTAT" in sql
