"""Each named query against numbers computed with NumPy from the arrays, on both databases."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from db.errors import QueryError
from db.history import History
from db.model_source import ModelSource
from db.query import named_queries, named_query, run_query
from db.schema import DatasetRow, FeatureRow, RunRow
from db.store import Store
from job.computed import COMPUTED
from job.data.dataset import DEFAULT_DATA, load
from job.data.source import least_squares
from job.named_query import run_named_query
from tests.samples import dataset_row, history, set_times

EPOCHS, FEATURES = 120, 3
NAMES = ["x0", "x1", "x2", "bias"]


def made_history(seed: int) -> History:
    """Losses that fall and rise again, and parameters that swing, slowly and with float32's noise."""
    made = history(EPOCHS, FEATURES, seed=seed)
    t = np.arange(EPOCHS)
    made.train_loss[:] = 0.01 + np.exp(-t / 9) * (1 + 0.01 * seed)
    made.test_loss[:] = 0.2 + ((t - 70 - seed) / 100) ** 2
    made.test_loss[73 + seed] = made.test_loss[70 + seed]  # the best value twice
    made.parameters[:, :-1] = np.sin(t[:, None] / np.array([10, 17, 500])) + 1e-6 * made.parameters[:, :-1]
    made.parameters[:, -1] *= 1e-9  # nothing but noise
    return made


def made_dataset() -> DatasetRow:
    row = dataset_row(FEATURES)
    row.target_minimum, row.target_maximum, row.target_mean = 5.0, 50.0, 22.0
    row.features = [
        FeatureRow(position=i, name=f"x{i}", minimum=-1.0 * i, maximum=10.0 + i, mean=2.0 + i)
        for i in range(FEATURES)
    ]
    return row


@pytest.fixture
def histories() -> dict[str, History]:
    made = {"paddle": made_history(0), "python": made_history(0)}
    # Equal at first, then different by a few units in the last place, and by more in one place.
    other = made["python"]
    other.train_loss[5:] *= np.float32(1.0001)
    other.parameters[30:, 1] = np.nextafter(other.parameters[30:, 1], np.float32(9))
    other.parameters[77, 2] += np.float32(1e-4)
    other.test_loss[50] += np.float32(1e-3)
    return made


@pytest.fixture
def run(store: Store, histories: dict[str, History]) -> RunRow:
    """The run that is queried, between two others that must not show."""
    ids = []
    for seed in (5, None, 6):
        writer = store.start_run(
            made_dataset(), epochs=EPOCHS, learning_rate=0.1, seed=seed or 0, environment={}
        )
        for model in ("paddle", "python"):
            writer.append(model, histories[model] if seed is None else made_history(seed))
        writer.finish("completed")
        ids.append(writer.run_id)
    return store.run(ids[1])


def rows(store: Store, name: str, run: RunRow | None, **parameters: Any) -> list[dict[str, Any]]:
    found = run_named_query(store, name, run, parameters, limit=None)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def values(history: History) -> np.ndarray[Any, Any]:
    return history.parameters.astype(np.float64)


def test_losses(store: Store, run: RunRow, histories: dict[str, History]) -> None:
    expected = [
        {
            "epoch": epoch,
            "model": model,
            "train_loss": float(histories[model].train_loss[epoch]),
            "test_loss": float(histories[model].test_loss[epoch]),
        }
        for epoch in (0, 50, 100, 119)
        for model in ("paddle", "python")
    ]
    assert rows(store, "losses", run, every=50) == expected


def test_final_parameters(store: Store, run: RunRow, histories: dict[str, History]) -> None:
    dataset = made_dataset()
    found = rows(store, "final-parameters", run)
    assert [(row["model"], row["parameter"]) for row in found] == [
        (model, name) for model in ("paddle", "python") for name in NAMES
    ]
    assert {row["epoch"] for row in found} == {EPOCHS - 1}
    for model, own in (("paddle", found[:4]), ("python", found[4:])):
        last = values(histories[model])[-1]
        np.testing.assert_allclose([row["value"] for row in own], last, rtol=6e-8)
        assert [row["sign"] for row in own] == ["+" if value > 0 else "-" for value in last]
        # The purpose of the original units: predicting from the table itself.
        x = np.array([3.0, -7.0, 11.0])
        minimum, maximum, mean = (
            np.array([getattr(f, part) for f in dataset.features]) for part in ("minimum", "maximum", "mean")
        )
        normalised = last[:3] @ ((x - mean) / (maximum - minimum)) + last[3]
        original = [row["in_original_units"] for row in own]
        assert np.dot(original[:3], x) + original[3] == pytest.approx(22 + 45 * normalised, abs=1e-5)


def test_parity(store: Store, run: RunRow, histories: dict[str, History]) -> None:
    first, second = histories["paddle"], histories["python"]
    gaps = {
        "train loss": np.abs(first.train_loss.astype(float) - second.train_loss),
        "test loss": np.abs(first.test_loss.astype(float) - second.test_loss),
        **{name: np.abs(values(first) - values(second))[:, i] for i, name in enumerate(NAMES)},
    }
    expected = {
        name: (
            float(gap.max()),
            int(gap.argmax()),
            int(np.flatnonzero(gap)[0]) if gap.any() else None,
        )
        for name, gap in gaps.items()
    }
    found = rows(store, "parity", run)
    assert {
        row["quantity"]: (row["largest_gap"], row["epoch"], row["first_epoch"]) for row in found
    } == expected
    assert [row["quantity"] for row in found] == sorted(expected, key=lambda name: (-expected[name][0], name))
    assert expected["x1"][2] == 30


def test_overfitting(store: Store, run: RunRow, histories: dict[str, History]) -> None:
    found = rows(store, "overfitting", run)
    assert [(row["model"], row["what"]) for row in found] == [
        (model, what) for model in histories for what in ("stretch", "stretch", "best to last")
    ]
    for row in found:
        own = histories[row["model"]]
        first, last = row["from_epoch"], row["to_epoch"]
        test = own.test_loss.astype(float)
        assert (row["from_test_loss"], row["to_test_loss"]) == (test[first], test[last])
        assert row["rise"] == test[last] - test[first]
        assert row["rise_percent"] == pytest.approx(100 * (test[last] / test[first] - 1))
        assert row["from_train_loss"] == own.train_loss[first]
        assert row["to_train_loss"] == own.train_loss[last]
        assert (row["rows_for_half"], row["test_rows"], row["shares"]) == (None, None, None)  # no data file
    for model, own in histories.items():
        *stretches, end = (row for row in found if row["model"] == model)
        rising = np.diff(np.r_[0, np.diff(own.test_loss) > 0, 0])  # its bounds, as the losses have no noise
        bounds = [*zip(*(np.flatnonzero(rising == way).tolist() for way in (1, -1)), strict=True)]
        assert [(row["from_epoch"], row["to_epoch"]) for row in stretches] == bounds
        assert bounds == [(70, 72), (73, EPOCHS - 1)]
        assert (end["from_epoch"], end["to_epoch"]) == (int(own.test_loss.argmin()), EPOCHS - 1)
        for row in stretches:
            assert row["parameters"] == [
                name
                for epoch, name in sorted(
                    (turn[0], NAMES[i])
                    for i, column in enumerate(values(own).T)
                    for turn in turns(column, 0.001)
                )
                if row["from_epoch"] <= epoch <= row["to_epoch"]
            ]
    assert "x0" in found[1]["parameters"]
    large = rows(store, "overfitting", run, least=0.01)
    assert [(row["model"], row["from_epoch"]) for row in large if row["what"] == "stretch"] == [
        ("paddle", 70),  # with a fall of less than 0.01 inside
        ("python", 70),
    ]


def test_a_turn_says_in_which_stretch_it_is(store: Store, run: RunRow) -> None:
    stretches = [row for row in rows(store, "overfitting", run) if row["what"] == "stretch"]
    found = rows(store, "turning-points", run)
    assert {row["test_rises_from"] for row in found} == {None, 73}
    for row in found:
        inside = [
            (each["from_epoch"], each["to_epoch"])
            for each in stretches
            if each["model"] == row["model"] and each["from_epoch"] <= row["epoch"] <= each["to_epoch"]
        ]
        assert [(row["test_rises_from"], row["test_rises_to"])] == (inside or [(None, None)])


def test_answers_about_several_models_are_sorted_by_model_first(store: Store) -> None:
    sources = [ModelSource(name, name) for name in ("c", "b", "a")]
    writer = store.start_run(
        made_dataset(), epochs=EPOCHS, learning_rate=0.1, seed=0, environment={}, models=sources
    )
    for seed, source in enumerate(sources):
        writer.append(source.name, made_history(seed))
    run = store.run(writer.run_id)
    for name in ("overfitting", "turning-points", "convergence", "parity"):
        models = [model for model, _ in groupby(row["model"] for row in rows(store, name, run))]
        assert models == ["a", "b", "c"][: 2 if name == "parity" else 3]


def turns(value: np.ndarray[Any, Any], least: float) -> list[tuple[int, float, float]]:
    """(epoch, distance before, distance after) of each change of direction, if both are at least `least`."""
    moving = [0, *(e for e in range(1, len(value)) if value[e] != value[e - 1])]
    steps = np.diff(value[moving])
    ends = [0, *(i for i in range(1, len(moving) - 1) if steps[i - 1] * steps[i] < 0), len(moving) - 1]
    way = np.diff(value[moving][ends])
    return [
        (moving[ends[i]], way[i - 1], way[i])
        for i in range(1, len(ends) - 1)
        if abs(way[i - 1]) >= least and abs(way[i]) >= least
    ]


@pytest.mark.parametrize("least", [0.001, 0.5, 1.2])
def test_turning_points(store: Store, run: RunRow, histories: dict[str, History], least: float) -> None:
    found = rows(store, "turning-points", run, around=5, least=least)
    for model, own in histories.items():
        expected = sorted(
            (turn[0], NAMES[i], *turn[1:])
            for i, column in enumerate(values(own).T)
            for turn in turns(column, least)
        )
        mine = [row for row in found if row["model"] == model]
        assert [(row["epoch"], row["parameter"]) for row in mine] == [turn[:2] for turn in expected]
        assert len(mine) >= 3
        ways = [(row["went_before"], row["went_after"]) for row in mine]
        np.testing.assert_allclose(ways, [turn[2:] for turn in expected], atol=2e-7)
        loss = own.train_loss.astype(float)
        for row in mine:
            e = row["epoch"]
            assert row["value"] == values(own)[e, NAMES.index(row["parameter"])]
            assert row["train_loss"] == loss[e]
            assert row["loss_fall_before"] == pytest.approx((loss[e - 5] - loss[e]) / 5)
            assert row["loss_fall_after"] == pytest.approx((loss[e] - loss[e + 5]) / 5)


@pytest.mark.parametrize("left", [1, 2, 3, 4, 7, 60, 120])
def test_turning_points_and_parity_of_thinned_walks(store: Store, left: int) -> None:
    """Parameters that turn, and do not move, at every other epoch; only some epochs are left."""
    random = np.random.RandomState(left)
    kept = np.sort(random.choice(EPOCHS, left, replace=False))
    writer = store.start_run(made_dataset(), epochs=EPOCHS, learning_rate=0.1, seed=0, environment={})
    walks = {}
    for model in ("paddle", "python"):
        made = history(EPOCHS, FEATURES, seed=left)
        walk = np.cumsum(random.choice([-0.25, 0, 0, 0.25], (EPOCHS, FEATURES + 1)), axis=0)
        made.parameters[:] = walk
        writer.append(model, made)
        walks[model] = values(made)[kept]
    with store.engine.begin() as connection:
        connection.execute(text(f"DELETE FROM epochs WHERE epoch NOT IN ({', '.join(map(str, kept))})"))
    run = store.run(writer.run_id)
    expected = sorted(
        (model, int(kept[turn[0]]), NAMES[i], *turn[1:])
        for model, walk in walks.items()
        for i, column in enumerate(walk.T)
        for turn in turns(column, 0.5)
    )
    found = [
        (row["model"], row["epoch"], row["parameter"], row["went_before"], row["went_after"])
        for row in rows(store, "turning-points", run, least=0.5)
    ]
    assert found == expected
    gaps = np.abs(walks["paddle"] - walks["python"])
    said = {row["quantity"]: (row["largest_gap"], row["epoch"]) for row in rows(store, "parity", run)}
    for i, name in enumerate(NAMES):
        assert said[name] == (gaps[:, i].max(), kept[gaps[:, i].argmax()])


def test_turning_points_tell_noise_from_turns(store: Store, run: RunRow) -> None:
    parameters = {row["parameter"] for row in rows(store, "turning-points", run)}
    assert parameters <= {"x0", "x1", "x2"}
    assert "bias" in {row["parameter"] for row in rows(store, "turning-points", run, least=1e-10)}


def test_convergence(store: Store, run: RunRow, histories: dict[str, History]) -> None:
    found = rows(store, "convergence", run, optimum=0.008)
    assert [(row["model"], row["optimum"]) for row in found] == [("paddle", 0.008), ("python", 0.008)]
    for row in found:
        loss = histories[row["model"]].train_loss.astype(float)
        away = np.abs(loss - loss[-1])
        assert (row["last_epoch"], row["final_train_loss"]) == (EPOCHS - 1, loss[-1])
        assert row["within_1_percent"] == np.flatnonzero(away <= 0.01 * loss[-1])[0]
        assert row["within_0_1_percent"] == np.flatnonzero(away <= 0.001 * loss[-1])[0]
        assert row["above_optimum"] == pytest.approx(loss[-1] - 0.008)
        assert row["above_optimum_percent"] == pytest.approx(100 * (loss[-1] / 0.008 - 1))


def test_the_optimum_is_null_where_the_data_are_not_at_hand(store: Store, run: RunRow) -> None:
    found = rows(store, "convergence", run)
    assert [(row["optimum"], row["above_optimum"], row["above_optimum_percent"]) for row in found] == [
        (None, None, None)
    ] * 2


def test_the_optimum_is_that_of_the_runs_own_data(store: Store, tmp_path: Path) -> None:
    writer = store.start_run(load().row(), epochs=2, learning_rate=0.1, seed=0, environment={})
    writer.append("paddle", history(2, 13))
    found = rows(store, "convergence", store.run(writer.run_id))
    table = np.loadtxt(DEFAULT_DATA)[:404]
    table = (table - table.mean(0)) / (table.max(0) - table.min(0))
    x, y = np.column_stack([np.ones(404), table[:, :-1]]), table[:, -1]
    residual = y - x @ np.linalg.solve(x.T @ x, x.T @ y)  # by the normal equations, unlike the job
    assert found[0]["optimum"] == pytest.approx(np.mean(residual**2), rel=1e-6)
    assert least_squares(load()) == pytest.approx(0.0112486, abs=5e-8)


def test_runs_by_final_loss(store: Store, run: RunRow) -> None:
    finals = []
    for each in store.runs():
        for model in ("paddle", "python"):
            own = store.history(each.id, model)
            finals.append((float(own.train_loss[-1]), each.id, model, float(own.test_loss[-1])))
    found = rows(store, "runs-by-final-loss", None)
    assert [(r["train_loss"], r["run"], r["model"], r["test_loss"]) for r in found] == sorted(finals)
    assert {row["last_epoch"] for row in found} == {EPOCHS - 1}
    for row in found:
        about = store.run(row["run"])
        for name in ("status", "learning_rate", "seed", "trigger"):
            assert row[name] == getattr(about, name)
        assert (row["dataset"], row["target"]) == (about.dataset.name, about.dataset.target)


def test_same_bits(store: Store, run: RunRow, histories: dict[str, History]) -> None:
    twin = store.start_run(made_dataset(), epochs=EPOCHS, learning_rate=0.1, seed=0, environment={})
    for model, made in histories.items():
        twin.append(model, made)
    twin.finish("completed")
    for i in range(1, 5):
        set_times(store, i, created_at=datetime(2030 + i, 1, 1, tzinfo=UTC))
    found = rows(store, "same-bits", None)
    assert [str(row["first_created"])[:4] for row in found] == [f"203{row['first_run']}" for row in found]
    assert [tuple(row.values())[:5] for row in found] == [
        (model, str(digest)[:12], count, first, last)
        for first, last, count in ((1, 1, 1), (run.id, twin.run_id, 2), (3, 3, 1))
        for model, digest in store.run(first).digests.items()
    ]


def test_sweep(store: Store) -> None:
    expected: list[tuple[Any, ...]] = []
    for rate, seed in ((0.2, 0), (0.1, 8), (0.1, 7)):
        for sweep in ("ours", "theirs"):
            writer = store.start_run(
                made_dataset(), epochs=5, learning_rate=rate, seed=seed, environment={}, sweep=sweep
            )
            trained = {
                "paddle": history(5, seed=writer.run_id),
                "python": history(3, seed=writer.run_id + 50),
            }
            if (rate, seed) == (0.1, 8):
                trained = {}
            for model, made in trained.items():
                writer.append(model, made)
                if sweep == "ours":
                    ends = float(made.train_loss[-1]), float(made.test_loss[-1]), float(made.test_loss.min())
                    expected.append((rate, seed, writer.run_id, "running", model, len(made) - 1, *ends))
            if sweep == "ours" and not trained:
                expected.append((rate, seed, writer.run_id, "running", None, None, None, None, None))
    found = run_named_query(store, "sweep", None, {"name": "ours"}, limit=None)
    assert found.columns[2:4] == ("run", "status")
    assert found.columns[5:] == ("last_epoch", "train_loss", "test_loss", "best_test_loss")
    assert found.rows == sorted(expected, key=lambda row: (*row[:3], row[4] or ""))


def test_every_query_says_what_it_answers_and_names_its_parameters() -> None:
    from db.backends import placeholders

    for query in named_queries():
        assert query.question.endswith("?")
        names = [name for name in query.parameters if name == "run" or query.name not in COMPUTED]
        assert sorted(names) == sorted(placeholders.names(query.sql)), query.name
        if query.name in COMPUTED:
            _, *known = inspect.signature(COMPUTED[query.name][0]).parameters
            assert ["run", *known] == list(query.parameters)


def test_an_unknown_query_or_parameter_is_named(store: Store, run: RunRow) -> None:
    with pytest.raises(QueryError, match="there is no query 'loss'; there are baselines, convergence, "):
        named_query("loss")
    with pytest.raises(QueryError, match=r"no parameter :evry; its parameters: :run, :every"):
        run_named_query(store, "losses", run, {"evry": 2})
    with pytest.raises(QueryError, match=r"--param run=VALUE"):
        run_query(store.url, named_query("parity").sql)
