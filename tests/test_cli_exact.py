"""`job train` and `job verify` judge the exact path, or `job verify` says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.store import Store
from job.cli import run
from job.data.dataset import load
from job.training import Settings, start, train_and_judge
from tests.samples import write_csv

Output = pytest.CaptureFixture[str]
ALONE = "one model alone: there is nothing to compare it with"


@pytest.fixture
def trained(migrated_url: str, tmp_path: Path) -> str:
    """URL of a store with a run of one model; its data file is elsewhere/made.csv."""
    (tmp_path / "elsewhere").mkdir()
    dataset = load(write_csv(tmp_path / "elsewhere" / "made.csv"))
    with Store(migrated_url) as store:
        done = train_and_judge(start(store, Settings(dataset, 30, 0.1, models=("python",))), dataset)
    assert [(each.kind, each.model, each.passed) for each in done.verdicts] == [
        ("integrity", None, True),
        ("exact", "python", True),
    ]
    return migrated_url


def test_the_exact_path_is_judged_where_the_data_file_is_named(
    trained: str, tmp_path: Path, capsys: Output
) -> None:
    file = str(tmp_path / "elsewhere" / "made.csv")
    assert run(["verify", "--database-url", trained, "--data", file]) == 0
    said = capsys.readouterr().out
    assert "exact: passed: python is on the exact path over 30 epochs: largest distance " in said
    assert ALONE not in said
    assert run(["verify", "--database-url", trained, "--data", file, "--json"]) == 0
    *_, exact = json.loads(capsys.readouterr().out)
    assert (exact["kind"], exact["model"], exact["against_model"]) == ("exact", "python", None)
    assert 0 < exact["worst"] < exact["tolerance"] < 1e-4


def test_without_the_data_file_verify_says_why_the_exact_path_is_not_judged(
    trained: str, capsys: Output
) -> None:
    assert run(["verify", "--database-url", trained]) == 0
    *_, why, alone = capsys.readouterr().out.splitlines()
    assert why == "exact: not judged: the data file of run 1 (made.csv) is not found; name it by --data"
    assert alone == ALONE
    assert run(["verify", "--database-url", trained, "--json"]) == 0
    assert [each["kind"] for each in json.loads(capsys.readouterr().out)] == ["integrity"]


def test_a_history_that_leaves_the_exact_path_fails(trained: str, tmp_path: Path, capsys: Output) -> None:
    dataset = load(tmp_path / "elsewhere" / "made.csv")
    with Store(trained) as store:
        writer = start(store, Settings(dataset, 30, 0.1, models=("python",)))
        wrong = store.history(1, "python")
        wrong.parameters[7:, 1] += 1e-3
        writer.append("python", wrong)
        writer.finish("completed")
    assert run(["verify", "--database-url", trained, "--data", str(tmp_path / "elsewhere" / "made.csv")]) == 1
    said = capsys.readouterr().out
    assert "integrity: passed" in said
    assert "exact: FAILED: python leaves the exact path over 30 epochs" in said
    assert "beyond it from epoch 7 on: x1 from 7" in said


def test_other_data_are_refused_and_nothing_is_stored(trained: str, tmp_path: Path, capsys: Output) -> None:
    other = write_csv(tmp_path / "other.csv", seed=2)
    assert run(["verify", "--database-url", trained, "--data", str(other)]) == 2
    assert "not what run 1 was trained on" in capsys.readouterr().err
    with Store(trained) as store:
        assert len(store.verdicts(1)) == 2
