"""What `job nights` prints about each scheduled run."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from db import scheduled_runs
from db.scheduled_runs import ScheduledRun
from db.schema import ModelRow, RunRow, ScheduledRunRow, VerdictRow
from db.store import Store
from job.cli import run
from job.cli.nights import print_nights, same_as
from job.verdicts.baseline import set_baseline
from tests.samples import dataset_row, history
from tests.series import judged, night, trained

DAILY = "0 2 * * * UTC"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def url(migrated_url: str) -> str:
    """A scheduled run that went well, one that drifted and failed, one that was skipped."""
    settings: dict[str, Any] = {"epochs": 5, "learning_rate": 0.1, "seed": 0, "environment": {}}
    with Store(migrated_url) as store:
        due = [
            scheduled_runs.add_due(store, DAILY, datetime(2026, 1, day, 2, tzinfo=UTC)).id
            for day in (1, 2, 3)
        ]
        for scheduled_run, status, why in ((due[0], "completed", None), (due[1], "failed", "disk full")):
            writer = store.start_run(
                dataset_row(), trigger="nightly", scheduled_run=scheduled_run, **settings
            )
            writer.append("paddle", history(5))
            writer.finish(status, why)
        took = update(RunRow).where(RunRow.id == 2)
        took = took.values(finished_at=store.run(2).created_at + timedelta(seconds=12.5))
        store.write(lambda session, _: session.execute(took))
        drift: dict[str, Any] = {"kind": "drift", "against_run_id": 1, "tolerance": 0.0, "detail": "far"}
        store.add_verdict(VerdictRow(run_id=2, **drift, passed=False, first_epoch=3, worst=0.25))
        scheduled_runs.settle(store, due[2], "skipped", "still running")
    return migrated_url


def test_the_list_has_outcome_verdict_time_and_reason_of_each_night(url: str, capsys: Output) -> None:
    assert run(["nights", "--database-url", url]) == 0
    *table, skipped, failed, last = capsys.readouterr().out.splitlines()
    top, third, second, first = (re.split(r" {2,}", line.strip()) for line in table)
    assert top == ["night", "due", "outcome", "run", "digest", "same as", "gap", "took", "schedule"]
    assert third == ["3", "2026-01-03 02:00Z", "skipped", DAILY]
    assert second == ["2", "2026-01-02 02:00Z", "failed", "2", "NOT 1", "0.25", "12.5 s", DAILY]
    assert first[:4] == ["1", "2026-01-01 02:00Z", "completed", "1"]
    assert (skipped, failed) == ("night 3 skipped: still running", "night 2 failed: disk full")
    assert run(["nights", "--limit", "2", "--database-url", url]) == 0
    *lines, same = capsys.readouterr().out.splitlines()
    assert (len(lines), same) == (5, last), "the last line is about all scheduled runs"
    assert re.fullmatch(r"unchanged since [0-9-]{10} \(run 1\); 1 of 2 passed; open: .+: failed", last)


def test_the_records_have_the_same(url: str, capsys: Output) -> None:
    assert run(["nights", "--json", "--limit", "0", "--database-url", url]) == 0
    third, second, first = json.loads(capsys.readouterr().out)
    assert third == {
        "id": 3,
        "schedule": DAILY,
        "due_at": "2026-01-03T02:00:00+00:00",
        "outcome": "skipped",
        "detail": "still running",
        "run": None,
        "digests": None,
        "seconds": None,
        "drift": None,
    }
    assert (second["run"], second["seconds"], second["outcome"]) == (2, 12.5, "failed")
    names = ("run_id", "kind", "against_run_id", "passed", "first_epoch", "worst", "tolerance", "detail")
    assert [second["drift"][name] for name in names] == [2, "drift", 1, False, 3, 0.25, 0.0, "far"]
    assert first["drift"] is None


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ({"passed": True, "against_run_id": 4}, "4"),
        ({"passed": True}, "a deleted run"),
        ({"passed": False, "against_run_id": 4}, "NOT 4"),
        ({"passed": False}, "NOT a deleted run"),
    ],
)
def test_a_verdict_in_a_few_words(verdict: dict[str, Any], words: str) -> None:
    assert same_as(VerdictRow(**verdict)) == words


def test_the_check_names_the_night(sqlite_url: str, capsys: Output) -> None:
    def check() -> tuple[int, str]:
        capsys.readouterr()
        return run(["nights", "--check", "--database-url", sqlite_url]), capsys.readouterr().out

    now = datetime.now(UTC)
    with Store(sqlite_url, create=True) as store:
        following = now + timedelta(hours=1)
        scheduled_runs.add_due(store, DAILY, following)
        assert check() == (
            0,
            f"no scheduled run was missed; the next is due at {following:%Y-%m-%d %H:%M}Z\n",
        )
        for minutes in (14, 16):  # the limit is a quarter of an hour
            late = scheduled_runs.add_due(store, DAILY, now - timedelta(minutes=minutes))
            assert check()[0] == (minutes > 15)
        assert check() == (1, f"a scheduled run was due at {late.due_at:%Y-%m-%d %H:%M}Z and has not begun\n")
        scheduled_runs.settle(store, late.id, "missed", "off")
        found = scheduled_runs.add_due(store, DAILY, now - timedelta(minutes=14))
        assert check() == (1, f"the scheduled run of {late.due_at:%Y-%m-%d %H:%M}Z was missed: off\n")
        scheduled_runs.settle(store, found.id, "skipped", "why not")
        assert check()[0] == 0


def test_the_check_within_an_age_needs_no_plan(database_url: str, capsys: Output) -> None:
    def check(*options: str) -> tuple[int, str]:
        return run(["nights", "--check", *options, "--database-url", database_url]), capsys.readouterr().out

    def ended(run_id: int, hours: float) -> None:
        moment = store.run(run_id).heartbeat_at - timedelta(hours=hours)
        values = update(RunRow).where(RunRow.id == run_id).values(finished_at=moment)
        store.write(lambda session, _: session.execute(values))

    with Store(database_url) as store:
        assert check("--within", "26h") == (1, "no scheduled run was completed\n")
        trained(store)
        night(store, status="interrupted")
        assert check("--within", "26h") == (1, "no scheduled run was completed\n")
        old, new = night(store), night(store, seed=1)
        ended(old.id, 25.5)
        ended(new.id, 1.5)
        assert check("--within", "2h") == (0, "the last scheduled run was completed 1.5 hours ago\n")
        assert check("--within", "89m") == (1, "the last scheduled run was completed 1.5 hours ago\n")
        set_baseline(store, store.run(old.id), "why", "alice")  # from now on it counts on its own
        assert check("--within", "26h") == (
            0,
            "the last scheduled run like run 3 was completed 25.5 hours ago\n",
        )
        assert check("--within", "25h") == (
            1,
            "the last scheduled run like run 3 was completed 25.5 hours ago\n",
        )
        assert check()[0] == 1


def test_within_is_an_age_and_belongs_to_check(url: str, capsys: Output) -> None:
    for options in (["--within", "26h"], ["--check", "--within", "soon"]):
        assert run(["nights", *options, "--database-url", url]) == 2
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)


def test_the_list_has_the_verdict_on_the_baseline_if_there_is_one(migrated_url: str, capsys: Output) -> None:
    with Store(migrated_url) as store:
        set_baseline(store, night(store), "why", "alice")
        for bits in (0, 1, 2):
            verdicts = judged(store, night(store, bits))
        assert run(["nights", "--database-url", migrated_url]) == 0
        top, third, second, first, _, last = capsys.readouterr().out.splitlines()
        assert top.split()[5:] == ["same", "as", "baseline", "gap", "took", "schedule"]
        assert second.count("  NOT 2") == second.count("  NOT 1") == 1
        assert first.split()[6:8] == ["1", "1"]
        gaps = [f"{verdicts[kind].worst:.2g}" for kind in ("baseline", "drift")]
        assert gaps[0] != gaps[1]
        assert third.split()[6:11] == ["NOT", "3", "NOT", "1", gaps[0]]
        assert last == (
            "unchanged since 2026-03-04 (run 4); 2 of 4 passed; "
            "open: differs from the baseline, run 1, since 2026-03-03 (run 3)"
        )
        assert run(["nights", "--json", "--database-url", migrated_url]) == 0
        assert "baseline" not in json.loads(capsys.readouterr().out)[0]


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("schedule", [None, "30 2 * * * Europe/Berlin"])
def test_a_year_of_nights_is_a_line_a_night_on_80_columns(
    baseline: bool, schedule: str | None, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """With runs of four digits, all of which differ from the night before, the baseline, or both."""
    day, made = datetime(2026, 1, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    found = []
    for number in range(1, 366):
        model = ModelRow(name="paddle", position=0, digest="0123456789ab")
        started = RunRow(id=1000 + number, status="interrupted", models=[model], stop_reason="SIGTERM " * 20)
        started.created_at, started.finished_at = made, made + timedelta(seconds=99.9)
        row = ScheduledRunRow(id=number, schedule=schedule, due_at=day + timedelta(days=number))
        row.status = "started"
        passed, other = number % 2 == 0, VerdictRow(passed=False, against_run_id=1000, worst=2.4e-7)
        drift = VerdictRow(passed=passed, against_run_id=999 + number, worst=None if passed else 2.4e-7)
        found.append(ScheduledRun(row, started, drift, other if baseline else None))
    monkeypatch.setenv("COLUMNS", "80")
    print_nights(found)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:366]] == [str(number) for number in range(1, 366)]
    assert sum("NOT" in line for line in lines) == (365 if baseline else 183)
