"""Errors in the target's own units, recomputed from the table and the stored parameters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from db.schema import ModelRow
from db.store import Store
from job.cli import run
from job.data.dataset import DEFAULT_DATA, load
from job.fit import MEAN, Fit, fit_table, fits, last_losses, loss_name
from job.training import Settings, start, train_and_judge
from tests.samples import regression, run_row

EPOCHS = 30


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('fit') / 'ledger.db'}"
    with Store(url, create=True) as store:
        train_and_judge(start(store, Settings(load(), EPOCHS, models=("python",))), load())
    return url


def errors(guessed: np.ndarray, true: np.ndarray) -> dict[str, float]:
    square = ((guessed - true) ** 2).mean()
    return {"rmse": square**0.5, "r2": 1 - square / ((true - true.mean()) ** 2).mean()}


def test_the_errors_are_those_of_the_stored_parameters_on_the_table_itself(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = np.loadtxt(DEFAULT_DATA)
    x, y, train, test = table[:, :-1], table[:, -1], slice(404), slice(404, None)
    with Store(url) as store:
        *weights, bias = store.history(1, "python").parameters[EPOCHS - 2].astype(float)
    low, high, mean = x[train].min(0), x[train].max(0), x[train].mean(0)
    spread = y[train].max() - y[train].min()
    guessed = y[train].mean() + spread * ((x - mean) / (high - low) @ weights + bias)
    assert run(["show", "1", "--json", "--database-url", url]) == 0
    found = json.loads(capsys.readouterr().out)["errors"]
    assert list(found) == ["python", MEAN]
    for part, rows in (("train", train), ("test", test)):
        assert found["python"][part] == pytest.approx(errors(guessed[rows], y[rows]), rel=1e-5)
        expected = errors(np.full(len(y[rows]), y[train].mean()), y[rows])
        assert found[MEAN][part] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert found[MEAN]["train"]["r2"] == 0
    assert found[MEAN]["test"]["r2"] < 0


def test_without_the_data_file_the_root_mean_squares_remain(url: str) -> None:
    with Store(url) as store:
        row, losses = store.run(), last_losses(store, 1)
    known, unknown = fits(row, losses, load()), fits(row, losses, None)
    assert list(unknown) == ["python"]
    assert [fit.rmse for fit in unknown["python"]] == [fit.rmse for fit in known["python"]]
    assert [fit.r2 for fit in unknown["python"]] == [None, None]


def test_losses_that_may_be_no_mean_squared_errors_are_not_converted() -> None:
    losses = {"mine": (0.25, 0.5)}
    row = regression(run_row(), load().row())
    assert fits(row, losses, None)["mine"][0].rmse == 45 / 2
    assert loss_name([row]) == "mean squared error"
    row.models[0] = ModelRow(position=0, name="mine", source="mine.py:Mine")
    assert fits(row, losses, load()) == {}
    assert loss_name([regression(run_row(), load().row()), row]) == "loss"
    row = regression(run_row(), load().row())
    row.parameters[0].name = "momentum"
    assert fits(row, losses, load()) == {}
    assert fits(regression(run_row(), load().row()), {}, load()) == {}


def test_a_fit_is_written_in_a_few_digits() -> None:
    assert str(Fit(9.66, None)) == "9.6600"
    assert str(Fit(5.888736, 0.0)) == "5.8887 (R2 0.0000)"
    both = (Fit(1.0, 0.5), Fit(2.0, None))
    assert fit_table({"a": both}) == (
        ["", "train RMSE", "train R2", "test RMSE", "test R2"],
        [["a", "1.0000", "0.5000", "2.0000", ""]],
    )


def test_training_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    words = ["train", "--model", "python", "--epochs", "2", "--no-mirror", "--database-url", url]
    assert run(words) == 0
    printed = capsys.readouterr().out
    with Store(url) as store:
        found = fits(store.run(), last_losses(store, 1), load())
    at = printed.index("Errors in units of MEDV, at the last epoch")
    lines = [line.split() for line in printed[at:].splitlines()[1:4]]
    assert lines[0] == ["train", "RMSE", "train", "R2", "test", "RMSE", "test", "R2"]
    for line, (name, both) in zip(lines[1:], found.items(), strict=True):
        assert line == [*name.split(), *both[0].texts, *both[1].texts]
