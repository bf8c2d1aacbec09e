"""`--model` and `job models`: own implementations on the command line, from the check to the verdict."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from db.store import Store
from job.cli import run
from job.data.dataset import load
from job.training import Settings
from tests.samples import write_csv

Output = pytest.CaptureFixture[str]
OWN = """
from job.models.python import PythonModel

class Mine(PythonModel):
    pass
"""
FASTER = """
import numpy as np
from job.models.python import PythonModel

class Mine(PythonModel):
    def __init__(self, dataset, learning_rate, seed, state):
        super().__init__(dataset, learning_rate * 1.1, seed, state)
"""
KEEPS_STATE = """
from job.models.python import PythonModel

class Mine(PythonModel):
    calls = 0

    def advance(self, epochs):
        self.calls += epochs
        made = super().advance(epochs)
        made.parameters[:, -1] += self.calls - epochs
        return made
"""
RAISES = """
from job.models.python import PythonModel

class Mine(PythonModel):
    def advance(self, epochs):
        if self.epoch <= 7 < self.epoch + epochs:
            raise OSError("no more")
        return super().advance(epochs)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "made.csv")
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def job(*words: str, url: str) -> int:
    return run([*words, "--data", "made.csv", "--database-url", url])


def train(url: str, *models: str, epochs: int = 20) -> int:
    named = [word for model in models for word in ("--model", model)]
    return job("train", *named, "--epochs", str(epochs), "--learning-rate", "0.1", url=url)


@pytest.mark.thorough
def test_a_check_has_a_line_for_each_clause(own: Path, capsys: Output) -> None:
    assert run(["models", "check", "mine.py:Mine", "--data", "made.csv"]) == 0
    *clauses, end = capsys.readouterr().out.splitlines()
    assert len(clauses) == 13
    assert all(line.startswith("passed: ") for line in clauses)
    assert end == "mine: all clauses hold"


@pytest.mark.thorough
def test_a_broken_clause_is_named_with_its_place(own: Path, capsys: Output) -> None:
    own.write_text(KEEPS_STATE)
    assert run(["models", "check", "mine.py:Mine", "--data", "made.csv"]) == 1
    out = capsys.readouterr().out
    assert "FAILED: Cutting epochs into other calls changes no bit: in calls of 1, 1, " in out
    assert out.endswith("mine: broken clauses: 2\n")


def test_the_list_has_every_name_and_needs_no_framework(capsys: Output) -> None:
    assert run(["models"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["name", "paddle", "python"]
    assert run(["models", "--json"]) == 0
    assert [model["name"] for model in json.loads(capsys.readouterr().out)] == ["paddle", "python"]


def test_an_own_model_is_trained_judged_and_on_record(database_url: str, own: Path, capsys: Output) -> None:
    assert train(database_url, "python", "mine.py:Mine") == 0
    assert "parity: passed: python and mine agree over 20 epochs: the same bits" in capsys.readouterr().out
    with Store(database_url) as store:
        python, mine = store.run().models
        assert (python.source, python.source_sha256) == ("python", None)
        assert (mine.source, mine.source_sha256) == (
            f"{own}:Mine",
            hashlib.sha256(OWN.encode()).hexdigest(),
        )
        assert store.run().environment["models"] == {"mine": mine.source_sha256}


def test_another_step_size_fails_parity(sqlite_url: str, own: Path, capsys: Output) -> None:
    own.write_text(FASTER)
    assert train(sqlite_url, "python", "mine.py:Mine") == 1
    assert "parity: FAILED: python and mine disagree over 20 epochs" in capsys.readouterr().out


def test_one_model_alone_has_no_parity(sqlite_url: str, own: Path, capsys: Output) -> None:
    assert train(sqlite_url, "alone=mine.py:Mine") == 0
    assert "parity" not in capsys.readouterr().out
    with Store(sqlite_url) as store:
        assert store.progress(1) == {"alone": 20}


def test_models_are_taken_from_the_environment(
    sqlite_url: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_MODELS", "python,other=mine.py:Mine")
    assert train(sqlite_url) == 0
    with Store(sqlite_url) as store:
        assert [model.name for model in store.run().models] == ["python", "other"]


def test_a_model_that_raises_keeps_what_was_trained_and_is_resumed_once_it_works(
    sqlite_url: str, own: Path, capsys: Output
) -> None:
    own.write_text(RAISES)
    assert train(sqlite_url, "python", "mine.py:Mine") == 1
    said = capsys.readouterr()
    assert "run 1 failed: mine at epoch 7: OSError: no more (mine.py, line 7)\n" in said.out
    own.write_text(OWN)
    assert job("resume", "1", url=sqlite_url) == 2
    old, new = (hashlib.sha256(text.encode()).hexdigest() for text in (RAISES, OWN))
    err = capsys.readouterr().err
    assert f"the model mine has changed since run 1 began: the SHA-256 of {own}:Mine is {new}" in err
    assert f"and was {old}; --changed-model" in err
    with Store(sqlite_url) as store:
        assert (store.run().status, store.run().resumes) == ("failed", 0)
        assert store.progress(1)["mine"] == 7
    assert job("resume", "1", "--changed-model", url=sqlite_url) == 0
    with Store(sqlite_url) as store:
        assert store.history(1, "mine").same_bits(store.history(1, "python"))
        (resume,) = store.run().environment["resumes"]
        assert resume["changed"] == {"models": {"mine": new}}


def test_a_changed_model_with_other_parameters_is_not_resumed(
    sqlite_url: str, own: Path, capsys: Output
) -> None:
    own.write_text(RAISES)
    assert train(sqlite_url, "mine.py:Mine") == 1
    own.write_text(OWN + "    parameter_names = classmethod(lambda *_: ('a', 'b', 'c', 'd'))\n")
    assert job("resume", "1", "--changed-model", url=sqlite_url) == 2
    assert "the models of run 1 have other parameters now than the run has" in capsys.readouterr().err
    with Store(sqlite_url) as store:
        assert (store.run().status, store.progress(1)) == ("failed", {"mine": 7})


def test_the_same_file_elsewhere_is_the_same_model(sqlite_url: str, own: Path, tmp_path: Path) -> None:
    assert train(sqlite_url, "python", "mine.py:Mine") == 0
    (tmp_path / "elsewhere").mkdir()
    own.rename(tmp_path / "elsewhere" / "mine.py")
    models = ("python", "elsewhere/mine.py:Mine")
    settings = Settings(load(tmp_path / "made.csv"), 20, 0.1, models=models)
    with Store(sqlite_url) as store:
        assert [each.id for each in store.all(settings.specification.runs())] == [1]
        (tmp_path / "elsewhere" / "mine.py").write_text(FASTER)
        assert not store.all(settings.specification.runs())


@pytest.mark.slow
def test_a_sweep_and_a_nightly_run_take_own_models(sqlite_url: str, own: Path, capsys: Output) -> None:
    models = ["--model", "python", "--model", "mine.py:Mine", "--epochs", "20"]
    assert job("sweep", *models, "--seeds", "0:2", "--workers", "1", url=sqlite_url) == 0
    assert job("nightly", "--once", "--no-mirror", *models, url=sqlite_url) == 0
    assert "parity: passed: python and mine agree" in capsys.readouterr().out
    with Store(sqlite_url) as store:
        assert [[model.name for model in each.models] for each in store.runs()] == [["python", "mine"]] * 3


def test_refused_models_leave_no_store(sqlite_url: str, own: Path, tmp_path: Path) -> None:
    own.write_text(OWN + "    parameter_names = classmethod(lambda cls, dataset: ('a',))\n")
    assert train(sqlite_url, "python", "mine.py:Mine") == 2
    own.write_text(OWN + "    def __init__(self, *_):\n        raise OSError\n")
    assert train(sqlite_url, "python", "mine.py:Mine") == 2
    assert train(sqlite_url, "python", "") == 2
    assert not list(tmp_path.glob("*.db"))
