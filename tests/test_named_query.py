"""How a named query gets its run, its parameters and the optimum."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from db.errors import QueryError, QueryStoppedError
from db.schema import RunRow
from db.store import Store
from job.computed import COMPUTED
from job.data.dataset import load
from job.models.base import LinearRegression
from job.named_query import check, run_named_query
from job.training import Settings, start, train_and_judge
from job.verdicts.path import ExactPath


@pytest.fixture
def store(filled: Store) -> Store:
    return filled


@pytest.fixture
def run(store: Store) -> RunRow:
    return store.run(2)


@pytest.mark.parametrize("value", [1, 7, 2**31 - 1])
def test_epochs_are_whole_numbers_from_1(value: int) -> None:
    check("every", value, 50)
    check("least", value, 0.5)


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.5, "7", None])
def test_other_numbers_of_epochs_are_refused(value: Any) -> None:
    with pytest.raises(QueryError, match=r":every must be a whole number from 1 to 2147483647, not "):
        check("every", value, 50)


def test_distances_are_numbers_from_0_and_text_is_anything() -> None:
    check("least", 0.0, 0.5)
    check("least", 0, 0.5)
    for value in (-0.1, float("nan"), float("inf"), "x", None):
        with pytest.raises(QueryError, match=":least must be a number from 0 to 2147483647"):
            check("least", value, 0.5)
    check("name", -5, None)
    check("name", "x", "y")


def optimum(store: Store, run: RunRow, **options: Any) -> Any:
    found = run_named_query(store, "convergence", run, **options)
    return {row[found.columns.index("optimum")] for row in found.rows}


def test_the_optimum_is_worked_out_given_or_not_known(store: Store, run: RunRow, tmp_path: Path) -> None:
    (known,) = optimum(store, run)
    assert known > 0
    assert optimum(store, run, parameters={"optimum": 0.25}) == {0.25}
    moved = (tmp_path / "made.csv").rename(tmp_path / "moved.csv")
    assert optimum(store, run) == {None}
    assert optimum(store, run, data=moved) == {known}


def test_the_run_is_named_once(store: Store, run: RunRow) -> None:
    with pytest.raises(QueryError, match="name the run with --run, not as a parameter"):
        run_named_query(store, "losses", run, {"run": 1})
    every = {"every": 10}
    assert (
        run_named_query(store, "losses", run, every).rows
        != run_named_query(store, "losses", store.run(1), every).rows
    )


def test_a_wrong_parameter_is_refused_before_anything_is_asked(store: Store, run: RunRow) -> None:
    with pytest.raises(QueryError, match=":every must be a whole number"):
        run_named_query(store, "losses", run, {"every": 0})
    with pytest.raises(QueryError, match="the query losses has no parameter :colour"):
        run_named_query(store, "losses", run, {"colour": 1})


def test_the_limit_counts(store: Store, run: RunRow) -> None:
    few = run_named_query(store, "losses", run, {"every": 1}, limit=3)
    assert (len(few.rows), few.more) == (3, True)
    assert len(run_named_query(store, "losses", run, {"every": 1}, limit=None).rows) == 60


@pytest.mark.parametrize("name", ["parity", "overfitting", "turning-points"])
def test_computed_answers_heed_the_limits_of_time_and_size(
    name: str, store: Store, run: RunRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QueryStoppedError, match="--max-bytes 10 "):
        run_named_query(store, name, run, max_bytes=10)
    over = Event()
    columns = COMPUTED[name][1]
    monkeypatch.setitem(COMPUTED, name, (lambda *_, **__: over.wait(60), columns))
    with pytest.raises(QueryStoppedError, match=r"stopped after 0\.1 s"):
        run_named_query(store, name, run, timeout=0.1)
    over.set()


def test_turning_points_have_the_turn_of_the_exact_path(sqlite_url: str) -> None:
    dataset = load()
    with Store(sqlite_url, create=True) as store:
        settings = Settings(dataset, 600, models=("python",))
        train_and_judge(start(store, settings), dataset)
        run = store.run()
        taken: list[Any] = []
        named = run_named_query(store, "turning-points", run, limit=3)
        run_named_query(store, "turning-points", run, limit=3, take=taken.extend)
    assert taken == [named.columns, *named.rows]
    assert named.more
    assert named.columns[-3:] == ("predicted_epoch", "short_half_life", "long_half_life")
    path = ExactPath(dataset, 0.01, LinearRegression.initial(dataset, 0).parameters)
    lives = {round(float(life), 1) for life in np.log(0.5) / np.log(1 - path.steps)}
    for row in named.rows:
        turn = dict(zip(named.columns, row, strict=True))
        assert turn["predicted_epoch"] == turn["epoch"]
        assert turn["short_half_life"] < turn["long_half_life"]
        assert {turn["short_half_life"], turn["long_half_life"]} <= lives
    first = dict(zip(named.columns, named.rows[0], strict=True))
    assert (first["parameter"], first["short_half_life"], first["long_half_life"]) == ("B", 108.0, 2444.1)


def test_without_an_exact_path_the_turns_are_told_without_it(
    store: Store, run: RunRow, tmp_path: Path
) -> None:
    found = run_named_query(store, "turning-points", run)
    assert found.rows
    moved = (tmp_path / "made.csv").rename(tmp_path / "moved.csv")
    assert run_named_query(store, "turning-points", run, data=moved).rows == found.rows
    found = run_named_query(store, "turning-points", run)
    assert {row[-3:] for row in found.rows} == {(None, None, None)}
