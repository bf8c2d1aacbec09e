"""A run that was stopped in any way ends with the same bits as one that was not."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from db.history import History
from db.integrity import compute_digests
from db.schema import RunRow, VerdictRow
from db.store import Store
from job.cli import run
from job.data.dataset import load
from job.models.reference import BUILT_IN
from job.training import Settings, start
from tests.conftest import ROOT
from tests.samples import execute, write_csv
from tests.trainers import start_and_wait

Output = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "made.csv")


def train(url: str, data: Path, epochs: int, *more: str) -> int:
    return run(["train", "--data", str(data), "--epochs", str(epochs), "--database-url", url, *more])


def histories(url: str, run_id: int) -> dict[str, History]:
    with Store(url) as store:
        return {model: store.history(run_id, model) for model in BUILT_IN}


def assert_same(url: str, a: int, b: int) -> None:
    ours, theirs = histories(url, a), histories(url, b)
    for model in BUILT_IN:
        assert len(ours[model])
        assert ours[model].same_bits(theirs[model])


def cut(url: str, run_id: int, status: str = "interrupted", **kept: int) -> None:
    """Make a completed run look as if it was stopped after some epochs of each model."""
    of = f"WHERE run_id = {run_id}"
    with Store(url) as store:
        execute(
            store,
            f"UPDATE runs SET status = '{status}' WHERE id = {run_id}",
            f"UPDATE models SET digest = NULL {of}",
            f"DELETE FROM blocks {of}",
        )
        for model, count in kept.items():
            execute(store, f"DELETE FROM epochs {of} AND model = '{model}' AND epoch >= {count}")
            if count:
                execute(store, f"INSERT INTO blocks VALUES ({run_id}, '{model}', {count - 1}, NULL)")
        compute_digests(store, run_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept",
    [
        {"paddle": 30, "python": 30},
        {"paddle": 37, "python": 12},
        {"paddle": 1, "python": 60},
        {"paddle": 0, "python": 0},
        {"paddle": 0, "python": 59},
    ],
    ids=str,
)
def test_whichever_model_is_ahead_each_goes_on_from_its_own_epoch(
    kept: dict[str, int], database_url: str, data: Path, capsys: Output
) -> None:
    assert train(database_url, data, 60) == 0
    assert train(database_url, data, 60) == 0
    cut(database_url, 2, "interrupted", **kept)
    assert run(["resume", "2", "--data", str(data), "--database-url", database_url]) == 0
    assert_same(database_url, 1, 2)
    assert f"run 2 resumes at epoch {min(kept.values())}" in capsys.readouterr().err


@pytest.mark.slow
def test_train_resume_takes_up_the_newest_unfinished_run_of_the_same_kind(
    database_url: str, data: Path, capsys: Output
) -> None:
    for more in ([], [], ["--seed", "1"], ["--learning-rate", "0.02"]):
        assert train(database_url, data, 20, *more) == 0
    other = write_csv(data.parent / "other.csv", seed=9)
    assert train(database_url, other, 20) == 0
    for run_id in range(1, 6):
        cut(database_url, run_id, "crashed", paddle=5, python=6)
    assert train(database_url, data, 20, "--resume") == 0
    with Store(database_url) as store:
        assert [(r.id, r.status) for r in store.runs()] == [
            (5, "crashed"),
            (4, "crashed"),
            (3, "crashed"),
            (2, "completed"),
            (1, "crashed"),
        ]
    assert train(database_url, data, 20, "--resume") == 0
    assert_same(database_url, 1, 2)


@pytest.mark.slow
def test_train_resume_without_an_unfinished_run_starts_a_new_one(
    database_url: str, data: Path, capsys: Output
) -> None:
    assert train(database_url, data, 5, "--resume") == 0
    assert train(database_url, data, 5, "--resume") == 0
    with Store(database_url) as store:
        assert [(r.id, r.resumes) for r in store.runs()] == [(2, 0), (1, 0)]


def test_train_resume_does_not_repeat_a_run_that_diverged(
    database_url: str, data: Path, capsys: Output
) -> None:
    """A container that restarts after a failure would train it again and again."""
    settings = ("--learning-rate", "1e30", "--resume")
    assert train(database_url, data, 5, *settings) == 1
    capsys.readouterr()
    assert train(database_url, data, 5, *settings) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "run 1 of these data, settings and environment diverged" in line
    assert train(database_url, data, 5, "--learning-rate", "0.01", "--resume") == 0
    assert train(database_url, data, 5, *settings[:2]) == 1
    with Store(database_url) as store:
        assert [run.status for run in store.runs()] == ["diverged", "completed", "diverged"]


def test_train_resume_does_not_repeat_a_run_that_failed_its_verdict(
    database_url: str, data: Path, capsys: Output
) -> None:
    assert train(database_url, data, 5) == 0
    judge(database_url, "drift", passed=False, against_run_id=1)
    assert train(database_url, data, 5, "--resume") == 0
    for kind in ("parity", "reference", "exact"):
        judge(database_url, kind, passed=False)
        assert train(database_url, data, 5, "--resume") == 1
        said = f"run 2 of these data, settings and environment failed its {kind}, as"
        assert said in capsys.readouterr().err
        judge(database_url, kind, passed=True)
    for model, passed in (("paddle", False), ("python", True)):
        judge(database_url, "exact", passed, model=model)
    assert train(database_url, data, 5, "--resume") == 1, "one model failed, whatever the other did"
    judge(database_url, "exact", passed=True, model="paddle")
    with Store(database_url) as store:
        start(store, Settings(load(data), 5, trigger="nightly")).finish("diverged")
    assert train(database_url, data, 5, "--resume") == 0, "a scheduled run is none by hand"
    with Store(database_url) as store:
        assert [run.id for run in store.runs()] == [4, 3, 2, 1]


def test_train_resume_tries_again_in_another_environment(
    database_url: str, data: Path, capsys: Output
) -> None:
    settings = ("--learning-rate", "1e30", "--resume")
    assert train(database_url, data, 5, *settings) == 1
    with Store(database_url) as store, Session(store.engine) as session:
        found = session.get_one(RunRow, 1)
        found.environment = found.environment | {"cpu": "another"}
        session.commit()
    assert train(database_url, data, 5, *settings) == 1
    with Store(database_url) as store:
        assert [run.id for run in store.runs()] == [2, 1]


def judge(
    url: str, kind: str, passed: bool, against_run_id: int | None = None, model: str | None = None
) -> None:
    """Give the newest run another verdict."""
    with Store(url) as store:
        store.add_verdict(
            VerdictRow(
                run_id=store.run().id,
                kind=kind,
                passed=passed,
                against_run_id=against_run_id,
                model=model,
                tolerance=1e-6,
                detail="as a test has it",
            )
        )


@pytest.mark.slow
def test_a_lengthened_run_has_the_bits_of_a_long_one(database_url: str, data: Path, capsys: Output) -> None:
    assert train(database_url, data, 90) == 0
    assert train(database_url, data, 40) == 0
    assert run(["resume", "2", "--epochs", "90", "--data", str(data), "--database-url", database_url]) == 0
    assert_same(database_url, 1, 2)


def test_a_resume_finds_the_file_of_the_run_whatever_table_is_the_default(
    sqlite_url: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(sqlite_url, data, 5) == 0
    data.with_name("other.csv").write_text("a,b\n1,2\n")
    monkeypatch.setenv("JOB_DATA", "other.csv")
    assert run(["resume", "1", "--epochs", "9", "--database-url", sqlite_url]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["resume", "1", "--data", "other.csv"],
            "other.csv: not what run 1 was trained on",
        ),
        (["resume", "1"], "run 1 is complete with 5 epochs; --epochs N lengthens it"),
        (["resume", "1", "--data", "made.csv", "--epochs", "3"], "only lengthens it"),
        (["resume", "8"], "there is no run 8"),
        (["resume"], "Missing argument 'RUN'"),
    ],
)
def test_what_cannot_be_resumed_is_one_line(
    arguments: list[str], message: str, sqlite_url: str, data: Path, capsys: Output
) -> None:
    assert train(sqlite_url, data, 5) == 0
    data.with_name("other.csv").write_text(data.read_text() + "1,2,3,4\n")
    capsys.readouterr()
    assert run([*arguments, "--database-url", sqlite_url]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stores_what_is_trained_and_prints_the_command_that_goes_on(
    number: signal.Signals, status: int, database_url: str, capsys: Output
) -> None:
    trainer = start_and_wait(database_url, 15_000, "--target", "CRIM")
    trainer.send_signal(number)
    started = time.monotonic()
    _, err = trainer.communicate(timeout=30)
    waited = time.monotonic() - started
    assert trainer.returncode == status, err
    assert waited < 10  # two seconds are promised; a loaded test machine gets more
    with Store(database_url) as store:
        stopped = store.run()
        progress = store.progress(stopped.id)
        assert (stopped.status, stopped.stop_reason) == ("interrupted", f"stopped by {number.name}")
        assert stopped.owner is None
    printed = re.search(r"go on with: job (.*)", err)
    assert printed
    assert 0 < min(progress.values()) < 15_000
    assert run(shlex.split(printed[1])) == 0
    assert run(["train", "--epochs", "15000", "--target", "CRIM", "--database-url", database_url]) == 0
    assert_same(database_url, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10])
def test_kills_at_random_moments_with_random_blocks_lose_nothing(kills: int, database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--kills", str(kills), "--url", database_url],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"(\d+) kills, (\d+) resumed, 0 rows differ", done.stdout)
    assert counts, done.stdout
    assert int(counts[1]) == int(counts[2]) >= kills


@pytest.mark.slow
def test_a_stopped_trainer_whose_run_was_taken_over_writes_nothing_more(database_url: str) -> None:
    trainer = start_and_wait(database_url, 1_000_000)
    with Store(database_url, heartbeat_timeout=1) as store:
        run_id = store.run().id
        for _ in range(20):  # if stopped within a transaction, it holds its run
            os.kill(trainer.pid, signal.SIGSTOP)
            time.sleep(1.2)
            store.mark_crashed()
            if store.run().status == "crashed":
                break
            os.kill(trainer.pid, signal.SIGCONT)
            time.sleep(0.1)
        assert store.run().status == "crashed"
        writer = store.resume_run(run_id, environment={})
        before = store.progress(run_id)
        os.kill(trainer.pid, signal.SIGCONT)
        _, err = trainer.communicate(timeout=60)
        assert trainer.returncode == 1, err
        assert "is no longer this process's" in err
        assert "go on with" not in err
        assert store.progress(run_id) == before
        writer.finish("interrupted")


CROWD = """
import logging, os, sys
from job.pins import pin
pin()
from job.cli import run
from job.models.loading import load_models
logging.disable(logging.INFO)  # Paddle turns it on
load_models()  # once, and then forked: eight imports of Paddle would take most of the time
children = []
for _ in range(8):
    if not (child := os.fork()):
        os._exit(run(sys.argv[1:]))
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.slow
def test_eight_trainers_share_one_new_sqlite_file(sqlite_url: str, data: Path) -> None:
    arguments = ["train", "--data", str(data), "--epochs", "600", "--database-url", sqlite_url]
    done = subprocess.run(
        [sys.executable, "-c", CROWD, *arguments], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "locked" not in done.stderr
    with Store(sqlite_url) as store:
        runs = store.runs()
        assert [r.status for r in runs] == ["completed"] * 8
        assert len({r.dataset_id for r in runs}) == 1
    for other in range(2, 9):
        assert_same(sqlite_url, 1, other)
