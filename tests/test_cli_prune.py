"""`job prune`: ages, its table, the result for each run, and what other commands say of a downsampled one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from db.store import Store
from job.cli import run
from job.cli.options import duration
from tests import pruning
from tests.conftest import Job, job_command
from tests.pruning import OLD, ids, made

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("36h", timedelta(hours=36)),
        (" 90d ", timedelta(days=90)),
        ("12w", timedelta(weeks=12)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_an_age_is_in_minutes_hours_days_or_weeks(text: str, span: timedelta) -> None:
    assert duration(text) == span


@pytest.mark.parametrize("text", ["", "90", "d", "90s", "1.5d", "90d12h", "1234567d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no age; write it like 90d, 36h, 12w or 90m"):
        duration(text)


def prune(url: str, *words: str) -> int:
    return run(["prune", "--database-url", url, *words])


def table(capsys: Output) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def url(migrated_url: str) -> str:
    """Three runs that ended 100 days ago, two of them nightly, and one that ended a day ago."""
    with Store(migrated_url) as store:
        for trigger in ("nightly", "nightly", "manual"):
            made(store, trigger=trigger)
        made(store, age=timedelta(days=1), trigger="manual")
    return migrated_url


def test_the_table_says_of_each_run_what_is_done_and_why(url: str, capsys: Output) -> None:
    policy = ("--keep-nights", "1", "--thin-older-than", "90d", "--every", "10")
    why = {
        1: "not among the newest 1 nightly runs",
        2: "the next scheduled run is compared with it",
        3: "ended 100 days ago",
    }
    expected = [
        ["1", "completed", "nightly", "40", "deleted", *why[1].split()],
        ["2", "completed", "nightly", "40", "kept", *why[2].split()],
        [
            "3",
            "completed",
            "manual",
            "40",
            "downsampled",
            "to",
            "every",
            "10th",
            "ended",
            "100",
            "days",
            "ago",
        ],
    ]
    assert prune(url, *policy, "--dry-run") == 0
    top, *rows = table(capsys)
    assert top == ["run", "status", "trigger", "epochs", "would", "be", "why", "rows", "removed"]
    assert rows == expected
    assert prune(url, *policy) == 0
    top, *rows = table(capsys)
    assert top == ["run", "status", "trigger", "epochs", "is", "why", "rows", "removed"]
    with Store(url) as store:
        left = sum(len(store.history(3, model)) for model in ("paddle", "python"))
        assert [run.id for run in store.runs()] == [4, 3, 2]
    removed = ["80", "0", str(80 - left)]
    assert rows == [[*row, count] for row, count in zip(expected, removed, strict=True)]


def test_json_says_what_a_run_came_to(url: str, capsys: Output) -> None:
    policy = ("--keep-nights", "1", "--json")
    assert prune(url, *policy, "--dry-run") == 0
    run_1 = {"run": 1, "action": "delete", "why": "not among the newest 1 nightly runs", "rows_removed": 0}
    assert json.loads(capsys.readouterr().out) == [run_1 | {"dry_run": True}]
    assert prune(url, *policy) == 0
    assert json.loads(capsys.readouterr().out) == [run_1 | {"rows_removed": 80, "dry_run": False}]


def test_a_run_that_changed_meanwhile_is_kept(
    url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.cli.prune.apply_pruning", lambda *_: None)
    assert prune(url, "--keep-nights", "1") == 0
    assert "kept: it has changed meanwhile" in capsys.readouterr().out
    assert prune(url, "--keep-nights", "1", "--json") == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["action"], said["rows_removed"]) == ("keep", 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --keep-nights"),
        (["--keep-nights", "0"], "--keep-nights"),
        (["--keep-nights", "3", "--every", "1"], "--every"),
        (["--thin-older-than", "soon"], "90d"),
        (["--thin-older-than", "-3d"], "90d"),
    ],
)
def test_wrong_use_is_one_line(sqlite_url: str, capsys: Output, arguments: list[str], said: str) -> None:
    assert run(["prune", *arguments, "--database-url", sqlite_url]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_no_store_and_nothing_to_do_are_said(sqlite_url: str, capsys: Output) -> None:
    ask = ["prune", "--keep-nights", "3", "--database-url"]
    Store(sqlite_url, create=True).close()
    assert run([*ask, "sqlite:///nowhere.db"]) == 0
    assert "there is no store" in capsys.readouterr().out
    assert run([*ask, sqlite_url]) == 0
    assert "nothing to prune" in capsys.readouterr().out


def test_runs_are_not_downsampled_before_they_are_old_enough_to_be_archived(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["prune", "--archive-older-than", "90d", "--thin-older-than", "30d", "--database-url", database_url]
    assert run(ask) == 2
    assert "--thin-older-than is less than --archive-older-than" in capsys.readouterr().err
    ask[4] = "90d"
    assert run(ask) == 0


def test_a_dry_run_says_the_same_and_removes_nothing(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        runs = [made(store) for _ in range(3)]
        ask = ["prune", "--keep-nights", "1", "--thin-older-than", "90d", "--every", "10", "--json"]
        assert run([*ask, "--dry-run", "--database-url", database_url]) == 0
        said = json.loads(capsys.readouterr().out)
        assert ids(store) == runs
        assert [(each["run"], each["action"], each["rows_removed"]) for each in said] == [
            (runs[0], "delete", 0),
            (runs[1], "delete", 0),
            (runs[2], "keep", 0),
        ]
        assert run([*ask, "--database-url", database_url]) == 0
        assert [each["rows_removed"] for each in json.loads(capsys.readouterr().out)] == [80, 80, 0]
        assert ids(store) == runs[2:]


@pytest.mark.slow
def test_readers_say_that_a_run_is_thinned(database_url: str, capsys: Output) -> None:
    with Store(database_url) as store:
        made(store, trigger="manual")
        pruning.prune(store, thin_older_than=OLD / 2, every=10)
    for words in (["query", "overfitting"], ["report"], ["export"], ["plot", "latest", "--figure", "losses"]):
        assert run([*words, "--database-url", database_url]) == 0
        assert "downsampled to every 10th epoch" in capsys.readouterr().err
    assert "downsampled to every 10th epoch" in Path("results/report-1.html").read_text()
    for words in (["runs"], ["show"]):
        assert run([*words, "--database-url", database_url]) == 0
        assert "downsampled" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_command_is_made_good_by_the_next(sqlite_url: str, job: Job) -> None:
    with Store(sqlite_url, create=True) as store:
        runs = [made(store, epochs=60_000) for _ in range(2)]
        words = ("prune", "--keep-nights", "1", "--database-url", sqlite_url)
        killed = subprocess.Popen(job_command(*words), stdout=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while store.run(runs[0]).whole:
            assert time.monotonic() < deadline
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert ids(store) == runs, "killed too late for this test"
        assert job(*words).returncode == 0
        assert ids(store) == runs[1:]
