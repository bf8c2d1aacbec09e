"""`job train`: what it stores, prints and refuses."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from db.store import Store
from job.cli import run
from job.cli.progress import PlainLines, training_progress
from job.data.dataset import DEFAULT_DATA
from job.models.reference import BUILT_IN
from tests.conftest import Job, job_command
from tests.samples import history, sqlite_file, write_csv

Output = pytest.CaptureFixture[str]


def test_a_small_run_is_stored_printed_and_judged(database_url: str, tmp_path: Path, capsys: Output) -> None:
    data = write_csv(tmp_path / "prices.csv")
    status = run(["train", "--data", str(data), "--epochs", "25", "--database-url", database_url])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert re.findall(r"^ *(\d+) ", out, re.MULTILINE)[:9] == [str(e) for e in range(0, 25, 3)]
    assert "parity: passed" in out
    assert "reference" not in out
    assert "25 of 25 epochs" not in err  # 25 is no tenth; the last tenth is 24
    assert "24 of 25 epochs" in err
    with Store(database_url) as store:
        found = store.run()
        assert (found.status, found.epochs, found.trigger) == ("completed", 25, "manual")
        assert (found.dataset.name, found.dataset.target) == ("prices.csv", "y")
        assert store.progress(found.id) == dict.fromkeys(BUILT_IN, 25)
        assert [verdict.kind for verdict in store.verdicts(found.id)] == [
            "integrity",
            "parity",
            "exact",
            "exact",
        ]
        assert {"python", "packages", "platform", "cpu", "blas", "threads", "git"} <= set(found.environment)


def test_settings_come_from_options_then_the_environment_then_the_file(
    job: Job, tmp_path: Path, sqlite_url: str
) -> None:
    write_csv(tmp_path / "made.csv")
    (tmp_path / ".env").write_text(
        f"JOB_EPOCHS=7\nJOB_SEED=3\nJOB_DATA=made.csv\nJOB_DATABASE_URL={sqlite_url}\n"
    )
    done = job("train", "--epochs", 5, JOB_SEED="4")
    assert done.returncode == 0, done.stderr
    with Store(sqlite_url) as store:
        assert (store.run().epochs, store.run().seed) == (5, 4)


@pytest.mark.thorough
def test_the_default_store_is_made_where_it_is_missing(tmp_path: Path, capsys: Output) -> None:
    write_csv(tmp_path / "made.csv")
    assert run(["train", "--data", "made.csv", "--epochs", "2"]) == 0
    assert (tmp_path / "results" / "ledger.db").exists()


def test_a_learning_rate_that_is_too_large_diverges_and_keeps_every_finite_epoch(
    database_url: str, capsys: Output
) -> None:
    status = run(["train", "--learning-rate", "1.5", "--database-url", database_url])
    out, _ = capsys.readouterr()
    assert status == 1
    with Store(database_url) as store:
        found = store.run()
        progress = store.progress(found.id)
        assert found.status == "diverged"
        assert found.stop_reason is not None
        told = dict(re.findall(r"(\w+) at epoch (\d+)", found.stop_reason))
        assert {model: int(epoch) for model, epoch in told.items()} == progress
        assert 20 < min(progress.values()) < 1000
        for model in progress:
            assert len(store.history(found.id, model).finite()) == progress[model]
    assert f"run {found.id} diverged: {found.stop_reason}" in out
    assert "parity" not in out


def test_the_largest_stable_learning_rate_does_not_diverge(database_url: str, capsys: Output) -> None:
    arguments = ["train", "--epochs", "300", "--database-url", database_url]
    assert run([*arguments, "--learning-rate", "1.0"]) == 0
    with Store(database_url) as store:
        losses = store.history(store.run().id, "python").train_loss
        assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "--epochs"),
        (["--epochs", "2.5"], "--epochs"),
        (["--epochs", "3000000000"], "--epochs"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--learning-rate", "inf"], "--learning-rate"),
        (["--learning-rate", "1e308"], "--learning-rate"),
        (["--learning-rate", "1e-46"], "--learning-rate"),
        (["--database-url", "sqlite://"], "a store in memory would be gone"),
        (["--database-url", "sqlite:///:memory:"], "a store in memory would be gone"),
        (["--database-url", "sqlite:///new.db?timeout=abc"], "parameter timeout is 'abc', not a number"),
        (["--heartbeat-timeout", "inf"], "--heartbeat-timeout"),
        (["--seed", "-1"], "--seed"),
        (["--seed", str(2**32)], "--seed"),
        (["--data", "none.csv"], "none.csv: there is no such file"),
        (["--data", "."], "a directory"),
        (["--target", "PRICE"], "there is no column 'PRICE'"),
        (["--database-url", "sqlite:///nowhere/at/all.db"], "the directory nowhere/at does not exist"),
        (["--colour"], "--colour"),
        (["surplus"], "surplus"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_no_store(
    arguments: list[str], message: str, sqlite_url: str, tmp_path: Path, capsys: Output
) -> None:
    assert run(["train", "--database-url", sqlite_url, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_data_changes_nothing_in_a_store_with_runs(
    database_url: str, tmp_path: Path, capsys: Output
) -> None:
    write_csv(tmp_path / "good.csv")
    (tmp_path / "bad.csv").write_text("a,y\n1,2\n1,x\n")
    arguments = ["train", "--epochs", "3", "--database-url", database_url, "--data"]
    assert run([*arguments, "good.csv"]) == 0
    assert run([*arguments, "bad.csv"]) == 2
    assert "bad.csv: line 3, column 2 (y): 'x' is not a number" in capsys.readouterr().err
    with Store(database_url) as store:
        assert len(store.runs()) == 1


def test_the_learning_rate_of_the_command_line_is_the_one_stored(
    sqlite_url: str, tmp_path: Path, capsys: Output
) -> None:
    write_csv(tmp_path / "made.csv")
    arguments = ["train", "--data", "made.csv", "--epochs", "2", "--database-url", sqlite_url]
    assert run([*arguments, "--learning-rate", "0.0123456789", "--seed", str(2**32 - 1)]) == 0
    with sqlite_file(sqlite_url) as connection:
        row = connection.execute("select learning_rate, seed from runs").fetchone()
    assert row == (0.0123456789, 2**32 - 1)


def test_an_unexpected_fault_is_one_line_and_a_traceback_only_on_demand(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the sky fell")

    monkeypatch.setattr("job.cli.table_options.load", broken)
    assert run(["train", "--database-url", sqlite_url]) == 1
    quiet = capsys.readouterr().err
    assert quiet == "job: error: unexpected RuntimeError: the sky fell (--debug shows where)\n"
    assert run(["train", "--debug", "--database-url", sqlite_url]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_default_table_is_found_from_anywhere() -> None:
    assert DEFAULT_DATA.is_absolute()
    assert DEFAULT_DATA.exists()


@pytest.mark.parametrize("epochs", range(1, 45))
def test_about_ten_lines_of_progress_whatever_the_number_of_epochs(epochs: int) -> None:
    lines = PlainLines({"a": 0}, epochs).tenths
    assert min(epochs, 5) <= len(lines) <= 10
    assert lines[-1] <= epochs


def test_an_unreadable_env_file_is_one_line(job: Job, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfeA=1\n")
    done = job("runs")
    assert done.returncode == 2
    assert done.stderr.startswith("job: error: .env cannot be read: ")
    assert done.stderr.count("\n") == 1


def test_an_env_pipe_is_refused_instead_of_waited_for(job: Job, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    done = job("runs")
    assert (done.returncode, done.stderr) == (2, "job: error: .env is a pipe; it must be a file\n")


def test_an_env_directory_is_no_settings_file(job: Job, tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert job("--version").returncode == 0


@pytest.mark.parametrize("words", [["--version"], ["train", "--epochs", "3"], ["runs", "--json"]])
def test_output_that_cannot_be_written_is_one_line(words: list[str], sqlite_url: str) -> None:
    Store(sqlite_url, create=True).close()
    command = shlex.join(job_command(*words)) + " > /dev/full"
    done = subprocess.run(
        ["sh", "-c", command],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JOB_DATABASE_URL": sqlite_url, "PYTHONUNBUFFERED": ""},
    )
    assert done.returncode == 1
    assert done.stderr.count("job: error: ") == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_who_closes_our_output_gets_the_run_all_the_same(closed: str, sqlite_url: str) -> None:
    command = shlex.join(job_command("train", "--epochs", "3", "--database-url", sqlite_url))
    assert subprocess.run(["sh", "-c", f"{command} {closed}"]).returncode == 0
    with Store(sqlite_url) as store:
        assert store.run().status == "completed"


def test_a_framework_that_cannot_be_loaded_is_one_line(
    sqlite_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from job.cli import run as command

    def broken(name: str) -> None:
        raise ImportError("libgomp.so.1: cannot open shared object file: No such file or directory")

    for name in BUILT_IN:  # as in a process that has trained nothing yet
        monkeypatch.delitem(sys.modules, f"job.models.{name}", raising=False)
    monkeypatch.setattr("importlib.metadata.import_module", broken)
    assert command(["train", "--database-url", sqlite_url]) == 2
    err = capsys.readouterr().err
    assert "libgomp1" in err
    assert err.count("\n") == 1
    assert not Path(sqlite_url.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("cuts", [[40], [1, 4, 15, 20], [8, 8, 8, 8, 8], [3] * 13 + [1]], ids=str)
def test_a_progress_line_has_the_losses_of_its_own_epoch(
    cuts: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {"a": history(40, seed=1), "b": history(40, seed=2)}
    report = PlainLines({"b": 0, "a": 0}, 40)
    start = 0
    for count in cuts:
        for model in whole:
            report(model, whole[model][start : start + count])
        start += count
    expected = []
    for tenth in range(4, 41, 4):
        losses = [
            f"{model} train {made.train_loss[tenth - 1]:.6f} test {made.test_loss[tenth - 1]:.6f}"
            for model, made in whole.items()
        ]
        expected.append(f"{tenth:>2} of 40 epochs  {'  '.join(losses)}")
    assert capsys.readouterr().err.splitlines() == expected


def test_a_progress_line_comes_once_every_model_has_passed_its_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = PlainLines({"a": 4, "b": 2}, 10)
    report("a", history(6, first_epoch=4))
    assert capsys.readouterr().err == ""
    report("b", history(2, first_epoch=2))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0].strip() for line in lines] == ["3 of 10 epochs", "4 of 10 epochs"]


def test_a_terminal_gets_a_bar_for_each_model_with_its_epochs_and_its_last_losses(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for name, value in (("COLUMNS", "120"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    own = history(10, first_epoch=20)
    with training_progress({"paddle": 20, "python": 5}, 40) as on_block:
        on_block("paddle", own)
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    losses = f"train {own.train_loss[-1]:.6f} test {own.test_loss[-1]:.6f}"
    assert re.search(rf"paddle .* 30/40 .*{losses}", said)
    assert re.search(r"python .* 5/40 ", said)
