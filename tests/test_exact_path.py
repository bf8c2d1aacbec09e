"""The exact path is gradient descent, and float32 stays within its bound unless something is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.history import Float32s, Float64s, History
from db.schema import RunRow, VerdictRow
from job.data.dataset import Dataset, load, split
from job.models.python import PythonModel
from job.verdicts.exact import MOST_PARAMETERS, exact_verdicts, path_of
from job.verdicts.path import ExactPath, series
from tests.samples import history, model, regression, table_of, write_csv
from tests.test_parity_of_large_tables import made as large_table

KINDS = ("normal", "uniform", "zeros and ones", "a heavy tail", "the same column twice", "wide")


def made(kind: str, rows: int = 60, seed: int = 1) -> Dataset:
    random, size = np.random.RandomState(seed), rows * 5 // 4
    x = random.randn(size, 4)
    if kind == "uniform":
        x = random.rand(size, 4)
    elif kind == "zeros and ones":
        x = random.randint(0, 2, (size, 4)).astype(float)
        x[:2] = [[0] * 4, [1] * 4]  # no column is constant
    elif kind == "a heavy tail":
        x = random.standard_cauchy((size, 4))
    elif kind == "the same column twice":
        x[:, 3] = x[:, 2]
    elif kind == "wide":
        x = random.randn(size, min(rows, 60) + 5)
    return of(x, x @ np.arange(1, x.shape[1] + 1) + 0.1 * random.randn(size))


def of(x: Float64s, target: Float64s) -> Dataset:
    names = (*(f"x{i}" for i in range(x.shape[1])), "y")
    return split(table_of(np.column_stack([x, target]), names))


def descent(dataset: Dataset, learning_rate: float, start: Float32s, epochs: int) -> Float64s:
    """Train loss, test loss and parameters by epoch: the loop that a model has, in float64."""
    t, rate = start.astype(np.float64), float(np.float32(learning_rate))
    tables = [
        (np.column_stack([x, np.ones(len(x))]).astype(np.float64), y[:, 0].astype(np.float64))
        for x, y in ((dataset.train_x, dataset.train_y), (dataset.test_x, dataset.test_y))
    ]
    found = []
    for _ in range(epochs):
        errors = [x @ t - y for x, y in tables]
        t = t - rate * 2 / len(errors[0]) * tables[0][0].T @ errors[0]
        found.append([*(np.mean(error**2) for error in errors), *t])
    return np.array(found)


def whole(path: ExactPath, epochs: int) -> tuple[Float64s, Float64s]:
    chunks = list(path.chunks(epochs))
    assert [chunk.first for chunk in chunks] == np.cumsum([0, *(len(c.values) for c in chunks[:-1])]).tolist()
    return np.concatenate([c.values for c in chunks]), np.concatenate([c.bound for c in chunks])


def largest_rate(dataset: Dataset) -> float:
    """The learning rate at which gradient descent begins to diverge."""
    return float(2 / ExactPath(dataset, 1.0, np.zeros(len(dataset.features) + 1, np.float32)).steps.max())


@pytest.mark.thorough
@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(0, 999), st.floats(1e-4, 0.999), st.sampled_from([7, 60]))
def test_the_closed_form_is_gradient_descent(kind: str, seed: int, share: float, rows: int) -> None:
    dataset = made(kind, rows, seed)
    rate = share * largest_rate(dataset)
    start = PythonModel.initial(dataset, seed).parameters
    expected = descent(dataset, rate, start, 200)
    found, bound = whole(ExactPath(dataset, rate, start), 200)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    assert (bound > 0).all()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    path = ExactPath(load(), 0.01, PythonModel.initial(load(), 0).parameters)
    once = whole(path, 500)
    monkeypatch.setattr("job.verdicts.path.CHUNK", 14 * 33)
    for cut, together in zip(whole(path, 500), once, strict=True):
        np.testing.assert_allclose(cut, together, rtol=1e-12)


@given(st.floats(0, 2), st.integers(0, 60))
def test_the_series_is_a_sum(step: float, epochs: int) -> None:
    (found,) = series(np.array([step]), np.array([epochs]))
    assert found == pytest.approx([sum((1 - step) ** j for j in range(epochs))], rel=1e-12, abs=1e-12)


def judged(
    dataset: Dataset, rate: float, trained: type[PythonModel], epochs: int, seed: int = 1
) -> VerdictRow:
    run = RunRow(id=1, epochs=epochs, status="completed", learning_rate=rate, seed=seed)
    regression(run, dataset.row())
    own = trained(dataset, rate, seed, PythonModel.initial(dataset, seed)).advance(epochs)
    (verdict,) = exact_verdicts(run, {"python": own}, dataset)
    return verdict


@pytest.mark.thorough
@settings(max_examples=40)
@given(st.sampled_from(KINDS), st.integers(0, 999), st.floats(1e-6, 0.999), st.sampled_from([7, 60, 900]))
def test_a_right_model_is_on_the_path(kind: str, seed: int, share: float, rows: int) -> None:
    dataset = made(kind, rows, seed)
    verdict = judged(dataset, share * largest_rate(dataset), PythonModel, 300, seed)
    assert verdict.passed, verdict.detail
    assert (verdict.kind, verdict.model, verdict.against_model) == ("exact", "python", None)


class Half(PythonModel):
    """1/r instead of 2/r."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.learning_rate = self.learning_rate / np.float32(2)


class OffByAThousandth(PythonModel):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.learning_rate = self.learning_rate * np.float32(1.001)


class Float16(PythonModel):
    """The features pass through float16."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.train_x = self.train_x.astype(np.float16).astype(np.float32)


class LossAfterUpdate(PythonModel):
    def advance(self, epochs: int) -> History:
        found = super().advance(epochs + 1)
        found.train_loss[:-1] = found.train_loss[1:]
        return found[:epochs]


class Momentum(PythonModel):
    """With momentum 0.01."""

    def advance(self, epochs: int) -> History:
        parts, before = [], self.parameters
        for _ in range(epochs):
            moved = self.parameters - before
            before = self.parameters
            parts.append(super().advance(1))
            self.parameters = self.parameters + np.float32(0.01) * moved
            parts[-1].parameters[0] = self.parameters
        return History.concatenate(parts)


class Decay(PythonModel):
    """With a weight decay of 1e-4."""

    def advance(self, epochs: int) -> History:
        parts = []
        for _ in range(epochs):
            before = self.parameters
            parts.append(super().advance(1))
            self.parameters = self.parameters - self.learning_rate * np.float32(2e-4) * before
            parts[-1].parameters[0] = self.parameters
        return History.concatenate(parts)


class LastRowMissing(PythonModel):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.train_x, self.train_y = self.train_x[:-1], self.train_y[:-1]


class NoBiasGradient(PythonModel):
    """The bias stays as it is."""

    def advance(self, epochs: int) -> History:
        parts = []
        for _ in range(epochs):
            bias = self.parameters[-1]
            parts.append(super().advance(1))
            self.parameters[-1] = parts[-1].parameters[0, -1] = bias
        return History.concatenate(parts)


def test_a_missing_gradient_of_the_bias_is_seen_where_the_bias_matters() -> None:
    """In a loaded table every column has mean 0, so the bias has nothing to learn."""
    dataset = made("normal")
    assert judged(dataset, 0.01, NoBiasGradient, 100).passed
    dataset = replace(dataset, train_y=dataset.train_y + np.float32(0.01))
    assert judged(dataset, 0.01, PythonModel, 100).passed
    assert not judged(dataset, 0.01, NoBiasGradient, 100).passed


@pytest.mark.parametrize(
    "mistake", [Half, OffByAThousandth, Float16, LossAfterUpdate, Momentum, Decay, LastRowMissing]
)
@pytest.mark.parametrize("table", ["housing", "normal", "zeros and ones"])
def test_a_planted_mistake_leaves_the_path(mistake: type[PythonModel], table: str) -> None:
    dataset = load() if table == "housing" else made(table, 404)
    verdict = judged(dataset, 0.01, mistake, 1000, 0)
    assert not verdict.passed, verdict.detail
    assert verdict.first_epoch in (0, 1)


def test_the_bound_of_a_loss_is_what_the_bounds_of_the_parameters_allow() -> None:
    """Of a feature and a bias that do not correlate, at a rate so small that rounding adds up for long."""
    x = np.tile([[0.0], [1.0]], (50, 1))
    dataset = of(x, 3 * x[:, 0] + np.random.RandomState(1).rand(100))
    values, bound = whole(ExactPath(dataset, 1e-4, np.array([2, -1], np.float32)), 3000)
    parameters, off = values[-2, 2:], bound[-2, 2:]  # those before the last epoch
    for part, (rows, y) in enumerate(((dataset.train_x, dataset.train_y), (dataset.test_x, dataset.test_y))):
        table = np.column_stack([rows, np.ones(len(rows))]).astype(np.float64)
        corners = [parameters + off * signs for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
        losses = [float(np.mean((table @ t - y[:, 0]) ** 2)) for t in (parameters, *corners)]
        most = max(abs(loss - losses[0]) for loss in losses)
        assert most <= bound[-1, part] <= 1.1 * most


def test_a_turn_is_that_of_two_modes_against_each_other() -> None:
    path = ExactPath(made("normal"), 0.01, np.zeros(5, np.float32))
    path.modes = np.sqrt(0.5) * np.array([[1, 1], [1, -1]])
    path.pull, path.steps = np.array([1, -0.5]), np.array([0.01, 0.001])
    # The first falls by 0.99^k, the second rises by 0.999^k / 2: they are equal at log 2 / log(0.999 / 0.99).
    for near in (0, 70, 90, 1000):
        found = path.turn(0, near, -1)
        assert found is not None
        assert found.epoch == 76
        assert found.short_half_life == pytest.approx(68.97, abs=0.01)
        assert found.long_half_life == pytest.approx(692.8, abs=0.1)
    assert path.turn(0, 1077, -1) is None
    assert path.turn(0, 76, 1) is None
    assert path.turn(1, 76, -1) is None


def test_the_turns_of_a_path_are_those_of_gradient_descent() -> None:
    dataset = load()
    start = PythonModel.initial(dataset, 0).parameters
    path = ExactPath(dataset, 0.01, start)
    steps = np.diff(descent(dataset, 0.01, start, 3000)[:, 2:-1], axis=0)  # without the bias: it is noise
    turns = [(int(e), int(p)) for e, p in np.argwhere(steps[:-1] * steps[1:] < 0)]
    assert len(turns) > 5
    for before, parameter in turns:
        # The first row of `steps` is the step of epoch 1.
        found = path.turn(parameter, before + 4, steps[before, parameter])
        assert found is not None
        assert found.epoch == before + 1
        # What fades had moved the parameter before, and what lasts moves it afterwards.
        for life, way in ((found.short_half_life, 1), (found.long_half_life, -1)):
            mode = int(np.argmin(np.abs(path.half_lives - life)))
            part = -path.modes[parameter, mode] * path.pull[mode] * (1 - path.steps[mode]) ** found.epoch
            assert np.sign(part) == way * np.sign(steps[before, parameter])


def run_of(dataset: Dataset, **changes: Any) -> RunRow:
    settings = {"epochs": 50, "status": "completed", "learning_rate": 0.1, "seed": 0} | changes
    return regression(RunRow(id=1, **settings), dataset.row())


def test_where_there_is_no_exact_path_the_reason_is_given(small: Dataset) -> None:
    assert isinstance(path_of(run_of(small), small), ExactPath)
    own, other = run_of(small), run_of(small)
    own.models[0].name, own.models[0].source = "mine", "/mine.py:Mine"
    other.parameters[0].name = "momentum"
    many = of(np.random.RandomState(0).rand(10, MOST_PARAMETERS), np.arange(10.0))
    for run, dataset, why in (
        (own, small, "the first model, mine, is not built in, so it may not be plain gradient descent"),
        (other, small, "the run is no linear regression of its features"),
        (run_of(many), many, "the run has 301 parameters, more than 300"),
        (run_of(small, status="diverged"), small, "the run diverged"),
        (run_of(small, learning_rate=50.0), small, "at learning rate 50 the exact path diverges"),
        (run_of(small), None, "the data file of run 1 (made.csv) is not found; name it by --data"),
    ):
        assert path_of(run, dataset) == why
        assert exact_verdicts(run, {"python": history(50)}, dataset) == []


def test_every_value_counts_and_the_first_beyond_its_bound_is_named(small: Dataset) -> None:
    right = model("python", small).advance(50)
    for field, where, name in [
        *(
            (field, epoch, field.replace("_", " "))
            for field in ("train_loss", "test_loss")
            for epoch in (0, 49)
        ),
        *(
            ("parameters", (epoch, i), name)
            for epoch in (0, 49)
            for i, name in enumerate(("x0", "x1", "x2", "bias"))
        ),
    ]:
        epoch = where if isinstance(where, int) else where[0]
        for far in (1e-4, np.nan):
            wrong = History.concatenate([right])
            getattr(wrong, field)[where] += np.float32(far)
            good, bad = exact_verdicts(run_of(small), {"python": right, "paddle": wrong}, small)
            assert good.passed
            assert (bad.passed, bad.model, bad.first_epoch) == (False, "paddle", epoch)
            assert bad.detail.endswith(f"; beyond it from epoch {epoch} on: {name} from {epoch}")
            assert f"({name}, epoch {epoch};" in bad.detail
            assert (bad.worst is None) == np.isnan(far)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_the_largest_distance_of_all_chunks_counts_with_its_own_bound(
    small: Dataset, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("job.verdicts.path.CHUNK", size * 4)
    right = model("python", small).advance(50)
    right.parameters[20, 1] += np.float32(1e-4)
    right.train_loss[41] += np.float32(1e-5)
    values, bound = whole(ExactPath(small, 0.1, PythonModel.initial(small, 0).parameters), 50)
    gap = np.abs(right.values - values)
    (verdict,) = exact_verdicts(run_of(small), {"python": right}, small)
    assert (verdict.first_epoch, verdict.passed) == (20, False)
    assert "(x1, epoch 20; " in verdict.detail
    assert (verdict.worst, verdict.tolerance) == pytest.approx((gap.max(), bound[20, 3]), rel=1e-9)
    assert f"largest share of a bound {(gap / bound).max():.2g};" in verdict.detail


def test_epochs_are_told_by_their_numbers(small: Dataset) -> None:
    right = model("python", small).advance(50)
    holed = History.concatenate([right[3:7], right[20:]])
    (verdict,) = exact_verdicts(run_of(small), {"python": holed}, small)
    assert verdict.passed
    assert "python is on the exact path over 34 epochs: " in verdict.detail
    assert verdict.worst is not None
    assert verdict.worst <= verdict.tolerance


def test_the_distance_is_that_from_float64(tmp_path: Path) -> None:
    dataset = load(write_csv(tmp_path / "made.csv"))
    own = model("python", dataset).advance(200)
    expected = descent(dataset, 0.1, PythonModel.initial(dataset, 0).parameters, 200)
    stored = np.column_stack([own.train_loss, own.test_loss, own.parameters]).astype(np.float64)
    (verdict,) = exact_verdicts(run_of(dataset, epochs=200), {"python": own}, dataset)
    assert verdict.worst == pytest.approx(np.abs(stored - expected).max(), rel=1e-6)


@pytest.mark.parametrize("name", ["paddle", "python"])
def test_the_rounding_of_long_sums_of_repeated_rows_is_allowed(name: str) -> None:
    dataset = large_table(20_000, "zeros and ones")
    run = run_of(dataset, epochs=30, learning_rate=0.01)
    (verdict,) = exact_verdicts(run, {name: model(name, dataset, 0.01).advance(30)}, dataset)
    assert verdict.passed, verdict.detail
