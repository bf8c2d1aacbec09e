"""A run's data file is found by its hash, wherever it is, and never confused with another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db.schema import RunRow
from job.data.dataset import DEFAULT_DATA, load
from job.data.source import least_squares, source
from job.errors import DataError
from tests.samples import write_csv


def run_on(path: Path, name: str | None = None) -> RunRow:
    """A run trained on a file, optionally under another name."""
    row = load(path).row()
    row.name = name or path.name
    return RunRow(id=7, dataset=row)


def test_the_housing_table_is_found_from_anywhere() -> None:
    found = source(run_on(DEFAULT_DATA, "renamed.data"))
    assert found is not None
    assert (found.name, found.target) == (DEFAULT_DATA.name, "MEDV")


@pytest.mark.parametrize("place", ["here", "JOB_DATA", "JOB_DATA under another name"])
def test_a_table_is_found_here_or_by_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    made = write_csv(tmp_path / "made.csv")
    run = run_on(made)
    if place != "here":
        (tmp_path / "elsewhere").mkdir()
        made = made.rename(tmp_path / "elsewhere" / ("made.csv" if place == "JOB_DATA" else "other.csv"))
        assert source(run) is None
        monkeypatch.setenv("JOB_DATA", str(made))
    found = source(run)
    assert found is not None
    assert found.sha256 == run.dataset.sha256


def test_another_table_of_that_name_is_not_taken_for_it(tmp_path: Path) -> None:
    run = run_on(write_csv(tmp_path / "made.csv"))
    other = write_csv(tmp_path / "made.csv", seed=2)
    assert source(run) is None
    with pytest.raises(DataError, match=r"made\.csv: not what run 7 was trained on: that is made\.csv"):
        source(run, other)


def test_a_table_is_taken_with_the_runs_target(tmp_path: Path) -> None:
    made = write_csv(tmp_path / "made.csv")
    run = RunRow(id=7, dataset=load(made, "x1").row())
    for found in (source(run), source(run, made.rename(tmp_path / "elsewhere.csv"))):
        assert found is not None
        assert found.target == "x1"


def test_the_optimum_is_that_of_the_normal_equations(tmp_path: Path) -> None:
    dataset = load(write_csv(tmp_path / "made.csv", rows=50))
    x = np.hstack([dataset.train_x.astype(float), np.ones((len(dataset.train_x), 1))])
    y = dataset.train_y.astype(float)
    residual = y - x @ np.linalg.solve(x.T @ x, x.T @ y)
    assert least_squares(dataset) == pytest.approx(float((residual**2).sum()) / len(y), rel=1e-6)
