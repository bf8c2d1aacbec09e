"""`job verify` on the command line, for one run and for the whole store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from db.integrity import DIFFERENT
from db.store import Store
from job.cli import run
from job.data.dataset import load
from tests.pruning import made
from tests.samples import execute, history, sqlite_file, start, write_csv

Output = pytest.CaptureFixture[str]
FORGED = "UPDATE epochs SET train_loss = 0.5 WHERE run_id = 2 AND model = 'python' AND epoch = 7"


def test_every_run_of_a_store_is_verified(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        for _ in range(3):
            made(store)
        start(store)
    assert run(["verify", "--all", "--database-url", database_url]) == 0
    assert capsys.readouterr().out == "integrity: 4 of 4 verified runs are as they were written\n"


def test_a_forged_run_is_named_and_its_verdict_stored(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        for _ in range(3):
            made(store)
        execute(store, FORGED, "UPDATE runs SET thinned_every = 10 WHERE id = 3")
        assert run(["verify", "--all", "--database-url", database_url]) == 1
        assert capsys.readouterr().out == (
            f"run 2: FAILED: python, epochs 0 to 39: {DIFFERENT}\n"
            "integrity: 1 of 2 verified runs are as they were written\n"
            "downsampled runs, which can no longer be verified: 1\n"
        )
        assert [(v.kind, v.passed, v.first_epoch) for v in store.verdicts(2)] == [("integrity", False, 0)]
        assert store.verdicts(3) == []


def test_programs_get_every_verdict(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        for _ in range(2):
            made(store)
        execute(store, FORGED)
    assert run(["verify", "--all", "--json", "--database-url", database_url]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [(v["run_id"], v["kind"], v["passed"]) for v in said["verdicts"]] == [
        (1, "integrity", True),
        (2, "integrity", False),
    ]
    assert said["damage"] == []


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path, capsys: Output) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Store(url, create=True) as store:
        made(store)
    with sqlite_file(url) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'ix_runs_sweep'")
    assert run(["verify", "--all", "--database-url", url]) in (1, 2)
    said = capsys.readouterr()
    assert "damaged" in said.out or "corrupted" in said.err


@pytest.mark.parametrize("also", [["1"], ["--tolerance", "1e-3"]])
def test_all_takes_neither_a_run_nor_a_tolerance(database_url: str, capsys: Output, also: list[str]) -> None:
    assert run(["verify", "--all", *also, "--database-url", database_url]) == 2
    assert "--all is about the integrity of every run" in capsys.readouterr().err


def test_a_forged_run_is_neither_resumed_nor_exported(
    database_url: str, capsys: Output, tmp_path: Path
) -> None:
    with Store(database_url) as store:
        made(store), made(store, "interrupted")
        execute(store, FORGED)
    assert run(["export", "2", "--database-url", database_url]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"job: error: run 2 is not as it was written: python, epochs 0 to 39: {DIFFERENT}; --as-is exports "
        "it all the same\n"
    )
    assert not list(tmp_path.rglob("*.csv"))
    assert run(["export", "2", "--as-is", "--database-url", database_url]) == 0
    assert len(list(tmp_path.rglob("*.csv"))) == 1


def test_a_run_with_a_forged_checkpoint_is_not_resumed(
    database_url: str, tmp_path: Path, capsys: Output
) -> None:
    data = load(write_csv(tmp_path / "made.csv"))
    with Store(database_url) as store:
        writer = store.start_run(data.row(), epochs=9, learning_rate=0.1, seed=0, environment={})
        for model in ("paddle", "python"):
            writer.append(model, history(6))
        writer.finish("interrupted")
        forged = "(SELECT parameters FROM epochs WHERE model = 'python' AND epoch = 4)"
        execute(store, f"UPDATE epochs SET parameters = {forged} WHERE model = 'python' AND epoch = 5")
        assert run(["resume", "1", "--data", "made.csv", "--database-url", database_url]) == 2
        assert capsys.readouterr().err == (
            "job: error: run 1 cannot be resumed: its history is not as it was written: "
            f"python, epochs 0 to 5: {DIFFERENT}; `job train` without --resume begins a new run\n"
        )
        assert store.run(1).status == "interrupted"
        assert store.progress(1) == {"paddle": 6, "python": 6}


def test_runs_without_digests_are_left_out_and_said(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        made(store), made(store)
        execute(store, "UPDATE blocks SET digest = NULL WHERE run_id = 1")
        assert run(["verify", "--all", "--database-url", database_url]) == 0
        said = capsys.readouterr()
        assert said.out == "integrity: 1 of 1 verified runs are as they were written\n"
        assert "not verified: the digests of run 1 are not computed yet; `job db upgrade`" in said.err
        assert store.verdicts(1) == []
        assert run(["verify", "1", "--database-url", database_url]) == 2


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ("datasets SET target_mean = target_mean + 1", "y"),
        ("datasets SET target_maximum = 60", "y"),
        ("features SET mean = mean + 1 WHERE name = 'x2'", "x2"),
    ],
)
def test_a_dataset_that_was_changed_is_found_where_its_file_is_known(
    database_url: str, tmp_path: Path, capsys: Output, change: str, column: str
) -> None:
    write_csv(tmp_path / "made.csv")
    words = ["--data", "made.csv", "--epochs", "9", "--database-url", database_url]
    assert run(["train", *words]) == 0
    with Store(database_url) as store:
        execute(store, f"UPDATE {change}")
    assert run(["verify", "1", "--database-url", database_url]) == 1
    said = f"integrity: FAILED: minimum, maximum and mean of {column} in the store and"
    assert said in capsys.readouterr().out


def test_a_changed_error_of_sums_loosens_no_bound(database_url: str, tmp_path: Path, capsys: Output) -> None:
    write_csv(tmp_path / "made.csv")
    assert run(["train", "--data", "made.csv", "--epochs", "9", "--database-url", database_url]) == 0
    with Store(database_url) as store:
        execute(store, "UPDATE datasets SET sum_error = 1")
        before = [(v.kind, v.tolerance) for v in store.verdicts(1)]
        assert run(["verify", "1", "--database-url", database_url]) == 0
        assert [(v.kind, v.tolerance) for v in store.verdicts(1)] == before
