"""The two models beyond their contract: the formula is right, both agree, only data and seed set the bits."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.history import History
from job.data.dataset import Dataset, load
from job.errors import ModelError
from job.models.base import LinearRegression
from job.models.loading import load_models
from job.models.python import mean_squared_error
from job.models.reference import BUILT_IN
from job.verdicts.gap import TOLERANCE, difference
from tests.samples import model, write_csv

MODELS = tuple(BUILT_IN)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(write_csv(tmp_path_factory.mktemp("data") / "made.csv", rows=40, features=4))


def trained(name: str, dataset: Dataset, epochs: int, seed: int = 0) -> History:
    return model(name, dataset, 0.1, seed).advance(epochs)


@pytest.mark.parametrize("name", MODELS)
def test_an_update_is_the_gradient_of_the_loss_by_finite_differences(name: str, small: Dataset) -> None:
    start, rate, h = LinearRegression.initial(small, 3).parameters, 0.1, 1e-6
    x = np.column_stack([small.train_x, np.ones(len(small.train_x))]).astype(np.float64)

    def loss(parameters: np.ndarray) -> float:
        return float(np.mean((x @ parameters - small.train_y[:, 0]) ** 2))

    updated = model(name, small, rate, 3).advance(1).parameters[0]
    by_difference = [(loss(start + h * e) - loss(start - h * e)) / (2 * h) for e in np.eye(len(start))]
    assert np.allclose((start - updated) / rate, by_difference, atol=2e-6)


@pytest.mark.parametrize("name", MODELS)
def test_an_epoch_is_loss_before_and_parameters_after_the_update(name: str, small: Dataset) -> None:
    start = LinearRegression.initial(small, 7)
    history = model(name, small, 0.1, start).advance(2)
    w, b = start.parameters[:-1, None].astype(np.float64), float(start.parameters[-1])
    for epoch in range(2):
        error = small.train_x @ w + b - small.train_y
        assert np.isclose(history.train_loss[epoch], np.mean(error**2), rtol=1e-5)
        assert np.isclose(
            history.test_loss[epoch], np.mean((small.test_x @ w + b - small.test_y) ** 2), rtol=1e-5
        )
        w = w - 0.1 * 2 / len(error) * small.train_x.T @ error
        b = b - 0.1 * 2 * error.mean()
        assert np.allclose(history.parameters[epoch, :-1], w[:, 0], atol=1e-6)
        assert np.isclose(history.parameters[epoch, -1], b, atol=1e-6)
    assert history.epoch.tolist() == [0, 1]


@pytest.mark.parametrize("name", MODELS)
def test_arithmetic_stays_in_float32(name: str, small: Dataset) -> None:
    history = trained(name, small, 3)
    assert {a.dtype for a in (history.train_loss, history.test_loss, history.parameters)} == {
        np.dtype(np.float32)
    }
    assert mean_squared_error(small.train_y).dtype == np.float32


@pytest.mark.parametrize("name", MODELS)
def test_each_epoch_has_the_moment_at_which_it_was_trained(name: str, small: Dataset) -> None:
    made = model(name, small)
    before = time.time()
    first = made.advance(3)
    between = time.time()
    second = made.advance(1)
    moments = [before, *first.trained_at.tolist(), between, *second.trained_at.tolist(), time.time()]
    assert moments == sorted(moments)
    assert 1.7e9 < before < 4e9  # seconds since 1970


def test_a_framework_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise ImportError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr("importlib.metadata.import_module", missing)
    monkeypatch.setitem(BUILT_IN, "none", ("none:None", ""))
    with pytest.raises(ModelError, match=r"the none model cannot be loaded: libgomp.*package libgomp1$"):
        load_models(["none"])
    assert gc.isenabled()


def test_loading_the_models_leaves_the_root_logger_as_it_was() -> None:
    code = (
        "import logging, gc; before = (logging.root.level, list(logging.root.handlers));"
        "from job.pins import pin; pin(); from job.models.loading import load_models; load_models();"
        "assert (logging.root.level, list(logging.root.handlers)) == before;"
        "assert gc.isenabled() and gc.get_freeze_count() > 50_000"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("name", MODELS)
def test_how_the_data_lie_in_memory_changes_no_bit(name: str) -> None:
    housing = load()
    whole = trained(name, housing, 200)

    def by_columns(values: np.ndarray) -> np.ndarray:
        return np.asfortranarray(values)

    def askew(values: np.ndarray) -> np.ndarray:
        room = np.empty(values.nbytes + 1, np.uint8)
        placed: np.ndarray = np.ndarray(values.shape, values.dtype, buffer=room[1:])
        placed[...] = values
        return placed

    for lay in (by_columns, askew):
        names = ("train_x", "train_y", "test_x", "test_y")
        laid: dict[str, Any] = {each: lay(getattr(housing, each)) for each in names}
        moved = replace(housing, **laid)
        assert trained(name, moved, 200).same_bits(whole), lay.__name__


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_sets_the_bits(name: str, small: Dataset) -> None:
    assert trained(name, small, 20, seed=5).same_bits(trained(name, small, 20, seed=5))
    assert not trained(name, small, 20, seed=5).same_bits(trained(name, small, 20, seed=6))


def test_the_start_weights_are_the_notebooks() -> None:
    expected = np.random.RandomState(0).randn(13, 1).astype("float32")
    assert np.array_equal(LinearRegression.initial(load(), 0).parameters[:-1], expected[:, 0])


@pytest.mark.parametrize("features", [1, 4, 60])
def test_the_two_models_agree_on_every_epoch(features: int, tmp_path: Path) -> None:
    dataset = load(write_csv(tmp_path / "made.csv", rows=80, features=features))
    paddle, python = (model(name, dataset, 0.02, 2).advance(300) for name in ("paddle", "python"))
    found = difference(paddle, python, (*dataset.features, "bias"), ("paddle", "python"))
    assert found.within_tolerance, found.describe()
    assert found.worst < TOLERANCE * 10


def test_a_ctrl_c_while_a_framework_loads_is_no_broken_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_by_ctrl_c(_: str) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            raise ImportError("can not import paddle core") from None

    monkeypatch.setattr("importlib.metadata.import_module", broken_by_ctrl_c)
    monkeypatch.setitem(BUILT_IN, "never_loaded", ("never_loaded:Model", ""))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        load_models(["never_loaded"])
    assert signal.getsignal(signal.SIGINT) is before
