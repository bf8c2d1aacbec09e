"""`job runs`, `show`, `verify`, `db`, and the behaviour of the command line in general."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from db.store import Store
from db.version import HEAD
from job.cli import run
from tests.conftest import ROOT, Job, job_command
from tests.samples import dataset_row, execute, history, start

Output = pytest.CaptureFixture[str]


@pytest.fixture
def filled_url(database_url: str) -> str:
    """A store with a completed, whole run and an interrupted one without epochs."""
    with Store(database_url) as store:
        for status in ("completed", "interrupted"):
            writer = store.start_run(
                dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={"cpu": "some"}
            )
            if status == "completed":
                writer.append("paddle", history())
                writer.append("python", history())
            writer.finish(status, None if status == "completed" else "stopped by SIGTERM")
    return database_url


def test_runs_are_listed_newest_first(filled_url: str, capsys: Output) -> None:
    assert run(["runs", "--database-url", filled_url]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["run", "status"]
    assert [line.split()[:2] for line in lines] == [["2", "interrupted"], ["1", "completed"]]


def test_runs_as_json_have_every_fact(filled_url: str, capsys: Output) -> None:
    assert run(["runs", "--json", "--database-url", filled_url]) == 0
    newest, oldest = json.loads(capsys.readouterr().out)
    assert (newest["id"], newest["stop_reason"], newest["trained"]) == (2, "stopped by SIGTERM", {})
    assert oldest["trained"] == {"paddle": 5, "python": 5}
    assert oldest["created_at"].endswith("+00:00")


@pytest.mark.parametrize("arguments", [["runs"], ["runs", "--json"]])
def test_no_store_is_no_runs_and_none_is_made(arguments: list[str], tmp_path: Path, capsys: Output) -> None:
    assert run(arguments) == 0
    out = capsys.readouterr().out
    assert (
        json.loads(out) == []
        if "--json" in arguments
        else "there is no store at results/ledger.db yet" in out
    )
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_has_no_runs(empty_url: str, capsys: Output) -> None:
    assert run(["runs", "--database-url", empty_url]) == 0
    assert "`job train`" in capsys.readouterr().out


def test_show_has_the_whole_run(filled_url: str, capsys: Output) -> None:
    assert run(["show", "1", "--database-url", filled_url]) == 0
    out = capsys.readouterr().out
    for fact in ("completed", "made.csv", "x0, x1, x2", "paddle 5, python 5", "cpu", "job verify 1"):
        assert fact in out
    assert run(["show", "1", "--json", "--database-url", filled_url]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["features"] == ["x0", "x1", "x2"]
    assert set(shown["last_losses"]) == {"paddle", "python"}


@pytest.mark.parametrize(
    "words",
    [
        ("plot", "1", "--figure", "losses"),
        ("report", "1"),
        ("export", "1"),
        ("query", "losses", "--run", "1"),
    ],
)
def test_a_command_says_that_a_run_is_downsampled(
    words: tuple[str, ...], filled: Store, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("job.cli.draw.draw", "job.report.draw"):
        monkeypatch.setattr(place, lambda *_: [])
    url = filled.url.render_as_string()
    assert run([*words, "--database-url", url]) == 0
    assert "run 1 is" not in capsys.readouterr().err
    execute(filled, "UPDATE runs SET thinned_every = 10 WHERE id = 1")
    assert run([*words, "--database-url", url]) == 0
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith("job: run 1 is downsampled")
    assert said.endswith("; what follows rests on the epochs that are left")


def test_verify_judges_and_stores(filled_url: str, capsys: Output) -> None:
    assert run(["verify", "1", "--database-url", filled_url]) == 0
    assert "parity: passed" in capsys.readouterr().out
    assert run(["show", "1", "--json", "--database-url", filled_url]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"][0]["passed"] is True


def test_verify_fails_with_status_1(filled_url: str, capsys: Output) -> None:
    with Store(filled_url) as store:
        writer = start(store, epochs=5)
        other = history(5)
        other.test_loss[3] += 1
        for model, own in (("paddle", history(5)), ("python", other)):
            writer.append(model, own)
    assert run(["verify", str(writer.run_id), "--json", "--database-url", filled_url]) == 1
    integrity, parity = json.loads(capsys.readouterr().out)
    assert (integrity["kind"], integrity["passed"]) == ("integrity", True)
    assert (parity["kind"], parity["passed"], parity["first_epoch"]) == ("parity", False, 3)
    assert parity["worst"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "7"], "there is no run 7"),
        (["show", "last"], "'last' is no run"),
        (["verify", "2"], "run 2 has no epoch of paddle or python"),
        (["db", "upgrade", "9999"], "upgrade to '9999' is not possible"),
    ],
)
def test_what_is_not_there_is_one_line(
    arguments: list[str], message: str, filled_url: str, capsys: Output
) -> None:
    assert run([*arguments, "--database-url", filled_url]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://somewhere/db", "stores are SQLite or PostgreSQL"),
        ("not a url", "cannot be read"),
        ("sqlite:///.", "is a directory"),
        ("sqlite:///none.db", "there is no store at none.db yet"),
    ],
)
def test_a_wrong_store_is_one_line(url: str, message: str, tmp_path: Path, capsys: Output) -> None:
    assert run(["show", "--database-url", url]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_password_is_never_printed(capsys: Output) -> None:
    url = "postgresql://somebody:open-sesame@127.0.0.1:1/none"
    assert run(["show", "--database-url", url]) == 1
    err = capsys.readouterr().err
    assert "open-sesame" not in err
    assert "the database did not answer" in err


def test_the_schema_goes_up_and_down(empty_url: str, capsys: Output) -> None:
    for arguments, printed in [
        (["upgrade"], f"schema {HEAD}"),
        (["check"], "what this version expects"),
        (["current"], f"schema {HEAD}; this version needs {HEAD}"),
        (["downgrade", "base"], "schema none"),
        (["current"], "schema none"),
    ]:
        assert run(["db", *arguments, "--database-url", empty_url]) == 0
        assert printed in capsys.readouterr().out


def test_a_changed_schema_is_noticed(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store, store.engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_verdicts_run_id")
    assert run(["db", "check", "--database-url", database_url]) == 1
    assert "ix_verdicts_run_id" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["runs"], ["--version"], ["train", "--help"], ["query", "--list"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str], sqlite_url: str, tmp_path: Path) -> None:
    script = (
        "import sys; from job.cli import run; status = run(sys.argv[1:]); "
        "heavy = {'paddle', 'visualdl', 'matplotlib', 'pandas', 'alembic'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr == "[]\n"
    assert done.stdout


def test_the_job_runs_as_a_module_and_from_any_directory(job: Job) -> None:
    assert job("--version").stdout.startswith("epoch-ledger ")


def test_every_command_helps() -> None:
    for command in (
        *(["train"], ["resume"], ["runs"], ["show"], ["verify"], ["compare"], ["query"]),
        *(["plot"], ["report"], ["export"], ["db"], ["db", "check"]),
    ):
        assert run([*command, "--help"]) == 0


def test_a_reader_that_leaves_early_is_no_error(filled_url: str) -> None:
    command = f"{shlex.join(job_command('show', 1, '--database-url', filled_url))} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
