"""Grafana's dashboard: its SQL answers on a PostgreSQL store, and its metrics are those that there are."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import text

from db.store import Store
from job.schedule.formats import metrics
from job.verdicts.baseline import set_baseline
from tests.conftest import ROOT
from tests.series import judged, night

PANELS: list[dict[str, Any]] = json.loads((ROOT / "deploy/grafana/nights.json").read_text())["panels"]
SQL = [(panel["title"], target) for panel in PANELS for target in panel["targets"] if "rawSql" in target]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"] if "expr" in target]


@pytest.fixture(scope="module")
def backend(postgresql_server: str) -> str:
    return "postgresql"


@pytest.fixture
def nights(store: Store) -> Store:
    """A store with a baseline and a night that differs from it."""
    set_baseline(store, night(store), "first", "alice")
    judged(store, night(store, 1))
    return store


@pytest.mark.parametrize("title", [title for title, _ in SQL])
def test_each_panels_sql_gives_rows_in_the_form_that_grafana_needs(nights: Store, title: str) -> None:
    target = dict(SQL)[title]
    # As Grafana's PostgreSQL data source replaces the macro.
    query = re.sub(r"\$__timeFilter\((\S+)\)", r"\1 BETWEEN '2026-01-01' AND '2027-01-01'", target["rawSql"])
    found = nights.read(lambda session: session.execute(text(query)))
    columns, rows = list(found.keys()), found.all()
    assert rows
    assert columns[0] == "time"
    if target["format"] == "time_series":
        assert columns == ["time", "metric", "value"]
        assert all(isinstance(row.metric, str) and isinstance(row.value, float) for row in rows)
        assert [row.time for row in rows] == sorted(row.time for row in rows)


def test_the_panels_ask_only_for_metrics_that_there_are(nights: Store) -> None:
    known = {family.name for family in metrics(nights, []).collect()}
    asked = {name for expression in EXPRESSIONS for name in re.findall(r"epoch_ledger_\w+", expression)}
    assert asked
    assert asked <= known


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
