"""`job prune`: ages, its table, and the result for each run."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import typer

from db.store import Store
from job.cli import run
from job.cli.prune import duration
from tests.test_retention import made

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("text", "span"),
    [("36h", timedelta(hours=36)), (" 90d ", timedelta(days=90)), ("12w", timedelta(weeks=12))],
)
def test_an_age_is_in_hours_days_or_weeks(text: str, span: timedelta) -> None:
    assert duration(text) == span


@pytest.mark.parametrize("text", ["", "90", "d", "90m", "1.5d", "90d12h", "1234567d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no age; write it like 90d, 36h or 12w"):
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
        1: "not among the newest 1 nights",
        2: "the next night is compared with it",
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
    run_1 = {"run": 1, "action": "delete", "why": "not among the newest 1 nights", "rows_removed": 0}
    assert json.loads(capsys.readouterr().out) == [run_1 | {"dry_run": True}]
    assert prune(url, *policy) == 0
    assert json.loads(capsys.readouterr().out) == [run_1 | {"rows_removed": 80, "dry_run": False}]


def test_a_run_that_changed_meanwhile_is_kept(
    url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.cli.prune.carry_out", lambda *_: None)
    assert prune(url, "--keep-nights", "1") == 0
    assert "kept: it has changed meanwhile" in capsys.readouterr().out
    assert prune(url, "--keep-nights", "1", "--json") == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["action"], said["rows_removed"]) == ("keep", 0)
