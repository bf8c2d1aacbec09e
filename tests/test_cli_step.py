"""`job step`: what it prints, its exit status, and what it refuses in one line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.store import Store
from job.cli import run
from job.cli.step import described
from job.data.dataset import DEFAULT_DATA, load
from job.replay.step import Difference
from job.training import Settings, start, train_and_judge
from tests.conftest import ROOT
from tests.samples import execute, write_csv

Output = pytest.CaptureFixture[str]


@pytest.fixture
def stored(migrated_url: str, tmp_path: Path) -> str:
    """A store with one run of 20 epochs of both models on the housing table."""
    with Store(migrated_url) as store:
        train_and_judge(start(store, Settings(load(), epochs=20)), load())
    return migrated_url


def answer(url: str, epoch: int, capsys: Output, status: int = 0) -> Any:
    assert run(["step", "1", str(epoch), "--json", "--database-url", url]) == status
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("epoch", "screen"), [(0, 80), (7, 80), (7, 60)])
def test_the_page_has_every_operation_parameter_and_comparison(
    epoch: int, screen: int, stored: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(screen))
    assert run(["step", "1", str(epoch), "--database-url", stored]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= screen
    for text in ("2/r error", "404 x 1", "LSTAT", "python against paddle", "differ by themselves: X w, test"):
        assert text in " ".join(out.split())
    for name in ("paddle", "python"):
        assert f"{name}: the replay has the stored bits" in out
    assert ("the start of seed 0" if epoch == 0 else "the stored epoch 6") in out


def test_json_has_the_values_that_were_stored(stored: str, capsys: Output) -> None:
    found = answer(stored, 7, capsys)
    with Store(stored) as store:
        rows = {name: store.history(1, name, 6, 7) for name in ("paddle", "python")}
    assert (found["run"], found["epoch"], found["learning_rate"]) == (1, 7, 0.01)
    for each in found["models"]:
        row = rows[each["model"]]
        values = {operation["operation"]: operation for operation in each["operations"]}
        assert values["X w"]["values"] is None
        assert values["X w"]["shape"] == [404, 1]
        assert values["train loss"]["values"] == [float(row.train_loss[1])]
        assert values["parameters"]["values"] == row.parameters[1].tolist()
        assert [p["old"] for p in each["parameters"]] == row.parameters[0].tolist()
        assert [p["new"] for p in each["parameters"]] == row.parameters[1].tolist()
        for parameter in each["parameters"]:
            assert parameter["update"] == parameter["new"] - parameter["old"]
            assert parameter["update"] == pytest.approx(-0.01 * parameter["gradient"], abs=1e-7)
        assert each["same_bits"] is True
    first, second = found["models"]
    assert first["against"] is None
    assert second["against"]["model"] == "paddle"
    assert second["against"]["own"][0]["operation"] == "parameters before"
    assert len(second["against"]["on_its_values"]) == len(second["operations"])


@pytest.mark.parametrize("column", ["train_loss", "test_loss"])
def test_a_changed_epoch_is_not_reproduced(column: str, stored: str, capsys: Output) -> None:
    with Store(stored) as store:
        execute(
            store, f"UPDATE epochs SET {column} = {column} * (1 + 1e-7) WHERE model = 'paddle' AND epoch = 7"
        )
    paddle, python = answer(stored, 7, capsys, status=1)["models"]
    assert paddle["unlike"].startswith(f"the stored {column.replace('_', ' ')} is ")
    assert python["same_bits"] is True
    assert run(["step", "1", "7", "--database-url", stored]) == 1
    out = capsys.readouterr().out
    assert "paddle: FAILED: the replay does not have the stored bits: the stored " in out
    assert "python: the replay has the stored bits" in out
    assert "or a model keeps state outside its parameters (`job models check` finds that)." in (
        " ".join(out.split())
    )


def test_a_mistake_in_a_users_file_is_named_in_the_sentence(
    migrated_url: str, tmp_path: Path, capsys: Output
) -> None:
    text = (ROOT / "job" / "models" / "python.py").read_text()
    for factor, one in (
        ("np.float32(2 / len(train_y))", "np.float32(1)"),
        (" * np.float32(2 / len(self.train_x))", ""),
    ):
        assert factor in text
        text = text.replace(factor, one)
    (tmp_path / "wrong.py").write_text(text)
    with Store(migrated_url) as store:
        models = ("python", "wrong.py:PythonModel")
        train_and_judge(start(store, Settings(load(), epochs=2, models=models)), load())
    assert run(["step", "1", "0", "--database-url", migrated_url]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "wrong first differs from python in: 2/r error, 404 of 404 values, largest gap 4.9, up to " in out
    assert "its trace is not" not in out
    assert "On python's values, these operations differ by themselves: 2/r error. The others only" in out


TYPED = """
import numpy as np
from job.models.python import PythonModel

class Typed(PythonModel):
    def trace(self, given=None):
        values = super().trace(given)
        values["gradient of the weights"] = values["gradient of the weights"].astype(np.float64)
        return values
"""


def test_a_type_alone_is_said_alone(
    migrated_url: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "typed.py").write_text(TYPED)
    with Store(migrated_url) as store:
        models = ("python", "typed.py:Typed")
        train_and_judge(start(store, Settings(load(), epochs=1, models=models)), load())
    assert run(["step", "1", "0", "--database-url", migrated_url]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^gradient of the weights +f64 +f64$", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    assert (
        "typed first differs from python in: gradient of the weights, only in the type: float64, not float32."
        " On python's values, these operations differ by themselves: gradient of the weights. python: the"
        in text
    )


WIDER = """
import numpy as np
from job.models.python import PythonModel

class Wider(PythonModel):
    def trace(self, given=None):
        values = super().trace(given)
        values["X w"] = self.train_x.astype(np.float64) @ self.parameters[:-1].reshape(-1, 1)
        return values
"""


@pytest.mark.parametrize("model", ["paddle", "python"])
def test_float64_fits_the_table(
    model: str, migrated_url: str, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / "wider.py"
    file.write_text(WIDER)
    with Store(migrated_url) as store:
        models = (model, f"{file}:Wider")
        train_and_judge(start(store, Settings(load(), epochs=1, models=models)), load())
    assert run(["step", "1", "0", "--database-url", migrated_url]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^X w +[0-9]+/404 f64 ", out, re.MULTILINE)


def test_only_a_small_gap_is_excused_by_tiny_units() -> None:
    large = Difference("X w", 404, 404, 0.6, 8_388_608, "")
    assert "tiny" not in described(large)
    assert "8,388,608 units in the last place, which are tiny near zero" in described(
        replace(large, gap=4e-8)
    )


WRONG = """
from job.models.python import PythonModel

class Wrong(PythonModel):
    def trace(self, given=None):
        values = super().trace(given)
        values["test loss"] = values["train loss"]
        return values
"""


def test_a_trace_that_is_not_what_the_model_trains_is_said(
    migrated_url: str, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    with Store(migrated_url) as store:
        train_and_judge(start(store, Settings(load(), epochs=2, models=("wrong.py:Wrong",))), load())
    (found,) = answer(migrated_url, 1, capsys, status=1)["models"]
    assert found["trace_unlike"].startswith("test loss is ")
    assert run(["step", "1", "1", "--database-url", migrated_url]) == 1
    out = capsys.readouterr().out
    said = out.index("wrong: FAILED: its trace is not what it trains: test loss is ")
    assert said < out.index("operation  ")
    assert "wrong: the replay has the stored bits" in out


def refused(words: list[str], capsys: Output) -> str:
    assert run(["step", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_what_cannot_be_replayed_is_refused_in_one_line(stored: str, tmp_path: Path, capsys: Output) -> None:
    url = ["--database-url", stored]
    assert "run 1 has no epoch 20 of paddle: its epochs are 0 to 19" in refused(["1", "20", *url], capsys)
    assert "there is no run 2" in refused(["2", "0", *url], capsys)
    assert "No such option: -1" in refused(["1", "-1", *url], capsys)
    assert "EPOCH" in refused(["1", "last", *url], capsys)
    other = tmp_path / "other.data"
    other.write_text(DEFAULT_DATA.read_text().replace("0.00632", "0.00633"))
    assert "not what run 1 was trained on" in refused(["1", "3", "--data", str(other), *url], capsys)
    with Store(stored) as store:
        execute(
            store,
            "DELETE FROM epochs WHERE epoch IN (5, 6)",
            "UPDATE runs SET thinned_every = 7",
            "UPDATE datasets SET sha256 = '0123456789abcdef'",
        )
    assert (
        "run 1 was trained on housing.data (sha256 0123456789ab...), which is not found; name its file with "
        "--data\n"
    ) in refused(["1", "3", *url], capsys)


@pytest.mark.parametrize("words", [["step", "1", "4"], ["step", "1", "5"], ["audit", "1", "--all"]])
def test_a_row_with_too_few_parameters_is_one_line(words: list[str], stored: str, capsys: Output) -> None:
    with Store(stored) as store:
        execute(store, "UPDATE epochs SET parameters = '[0.5]' WHERE epoch = 4")
    assert run([*words, "--database-url", stored]) == 2
    err = capsys.readouterr().err
    assert "run 1, paddle: a value in the store is corrupted: epoch 4: 1 parameters" in err
    assert err.count("\n") == 1


def test_of_a_downsampled_run_only_epochs_after_a_stored_one_are_replayed(
    stored: str, capsys: Output
) -> None:
    url = ["--database-url", stored]
    with Store(stored) as store:
        execute(store, "DELETE FROM epochs WHERE epoch IN (5, 6)", "UPDATE runs SET thinned_every = 7")
    err = refused(["1", "7", *url], capsys)
    assert "run 1: epoch 6 of paddle is not stored; the run is downsampled to every 7th epoch" in err
    assert "epoch 5 of paddle is not stored" in refused(["1", "5", *url], capsys)
    for epoch in (0, 4, 8):
        assert run(["step", "1", str(epoch), *url]) == 0


def test_of_very_many_parameters_the_largest_are_shown(
    migrated_url: str, tmp_path: Path, capsys: Output
) -> None:
    data = load(write_csv(tmp_path / "wide.csv", rows=100, features=70))
    with Store(migrated_url) as store:
        train_and_judge(start(store, Settings(data, epochs=2, learning_rate=0.1)), data)
        row = store.history(1, "paddle", 1, 1).parameters[0]
    assert run(["step", "1", "1", "--data", "wide.csv", "--database-url", migrated_url]) == 0
    out = capsys.readouterr().out
    assert out.count("the 60 largest of 71 parameters") == 2
    smallest = f"x{np.argsort(np.abs(row))[1]}" if np.argsort(np.abs(row))[0] == 70 else "bias"
    assert f"\n{smallest} " not in out
