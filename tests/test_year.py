"""A simulated series of nights tells when the bits changed, who accepted that, and what was missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import scheduled_runs
from db.store import Store
from job.data.dataset import Dataset
from job.schedule.glance import glance
from tests import year


@pytest.mark.slow
def test_a_year_in_small(
    sqlite_url: str, small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUNDING", "")
    monkeypatch.setattr(year, "VERSIONS", {0: "1.0", 3: "1.1", 8: "2.0", 10: "1.1"})
    monkeypatch.setattr(year, "ACCEPTED", {0: "the first night", 4: "sums in another order"})
    monkeypatch.setattr(year, "MISSED", (6,))
    with Store(sqlite_url, create=True) as store:
        year.simulate(store, small, tmp_path / "mine.py", 12, epochs=10)
        nights = scheduled_runs.newest(store)
        results = [night.result for night in reversed(nights)]
        assert (
            results
            == [*["passed"] * 3, *["drifted"] * 2, "passed", "missed", "passed", *["drifted"] * 2]
            + ["passed"] * 2
        )
        assert glance(store, nights) == ("unchanged since 2026-01-11 (run 10); 7 of 12 passed; open: nothing")
