"""Faults around a scheduler: clocks that jump, slow stores, children that die or run long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine

from db import scheduled_runs
from db.store import Store
from job.environment import environment
from job.schedule.cron import Schedule
from job.schedule.scheduler import NightlyScheduler
from job.stop import StopRequest
from job.verdicts.fail_on import FailOn
from tests.conftest import ROOT, job_command
from tests.samples import dataset_row, history, wait_for
from tests.test_scheduler import EVENING, NOTHING, SweepProgress, outcomes, run_until, scheduler

pytestmark = pytest.mark.process


def test_a_night_off_the_grid_is_missed_once(sqlite_url: str) -> None:
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        run_until(scheduler(sqlite_url), clock, EVENING)
        with Store(sqlite_url) as store:  # like --run-now, killed before its child began
            scheduled_runs.add_due(store, "0 2 * * * UTC", EVENING + timedelta(minutes=1))
        for day in (2, 3):
            clock.move_to(EVENING + timedelta(days=day))
            run_until(scheduler(sqlite_url, NOTHING, told), clock, EVENING + timedelta(days=day, hours=1))
    assert [outcome for _, outcome in outcomes(sqlite_url)] == [*["missed"] * 4, "due"]
    assert [body.split(" ")[0] for title, body in told if title == "a scheduled run was missed"] == [
        "3",
        "the",
    ]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_night_in_the_hour_that_summer_time_skips_or_repeats_runs_once(sqlite_url: str, zone: str) -> None:
    begin = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    with time_machine.travel(begin, tick=False) as clock:
        changing = NightlyScheduler(
            Schedule("0 2 * * *", zone),
            NOTHING,
            lambda: Store(sqlite_url, create=True),
            lambda *_: None,
            StopRequest(),
        )
        for day in changes(ZoneInfo(zone)):
            clock.move_to(day - timedelta(days=1, hours=6))
            run_until(changing, clock, day + timedelta(days=2))
    begun = [due for due, outcome in outcomes(sqlite_url) if outcome == "failed"]
    dates = [due.astimezone(ZoneInfo(zone)).date() for due in begun]
    assert len(dates) == len(set(dates)) >= 6
    for day in changes(ZoneInfo(zone)):
        assert day.astimezone(ZoneInfo(zone)).date() in dates


def changes(zone: ZoneInfo) -> list[datetime]:
    """The hours of 2026 at which the zone's offset changes, found by checking each hour of the year."""
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(365 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return [
        hour for hour, before, after in zip(hours[1:], offsets, offsets[1:], strict=False) if before != after
    ]


def test_a_store_that_is_slow_to_open_loses_no_night(sqlite_url: str) -> None:
    stop = StopRequest()
    slow = scheduler(sqlite_url, NOTHING, stop=stop)
    opened = slow.open_store

    def open_slowly() -> Store:
        time.sleep(1.2)
        return opened()

    slow.open_store = open_slowly
    thread = threading.Thread(target=slow.run, args=[True])
    thread.start()
    try:
        with Store(sqlite_url, create=True) as store:
            wait_for(lambda: [n for n in scheduled_runs.newest(store) if n.outcome == "failed"], 30)
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.parametrize(
    ("ends", "news"),
    [
        (
            "writer.finish('completed'); sys.exit(2)",
            "scheduled run 1, run 1: its process ended with status 2",
        ),
        (
            "os.kill(os.getpid(), 9)",
            "the scheduled run of 2026-03-02 02:00Z, run 1, crashed: its process has ended",
        ),
    ],
)
def test_a_night_that_ends_badly_after_its_run_began_is_told_of(
    ends: str, news: str, sqlite_url: str
) -> None:
    told: SweepProgress = []
    Store(sqlite_url, create=True).close()
    program = (
        "import os, sys; from db.store import Store; from tests.samples import dataset_row, history\n"
        f"with Store({sqlite_url!r}) as store:\n"
        "    writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={},\n"
        "                             trigger='nightly', scheduled_run=int(sys.argv[1]))\n"
        f"    writer.append('paddle', history(5)); {ends}"
    )
    with time_machine.travel(EVENING, tick=False) as clock:
        failing = scheduler(sqlite_url, [sys.executable, "-c", program], told)
        run_until(failing, clock, EVENING + timedelta(hours=5))
    assert told == [("a scheduled run failed", news)]


@pytest.mark.parametrize(("fail_on", "runs"), [(FailOn.drift, [2]), (FailOn.never, [])])
def test_a_drift_is_told_of_if_it_counts_and_a_drift_back_is_not(
    fail_on: FailOn, runs: list[int], sqlite_url: str
) -> None:
    program = (
        "import sys; from db.store import Store; from tests.series import judged, trained\n"
        f"number = int(sys.argv[1])\nwith Store({sqlite_url!r}) as store:\n"
        "    run = trained(store, number % 2, trigger='nightly', scheduled_run=number)\n"
        "    failed = not all(verdict.passed for verdict in judged(store, run).values())\n"
        f"sys.exit(failed and {fail_on is FailOn.drift})"
    )
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        drifting = scheduler(sqlite_url, [sys.executable, "-c", program], told)
        drifting.fail_on = fail_on
        run_until(drifting, clock, EVENING + timedelta(days=2, hours=5))
    with Store(sqlite_url) as store:
        details = [verdict.detail for run in (2, 3) for verdict in store.verdicts(run)]
    assert [detail.partition(";")[0] for detail in details][1:] == ["back to the bits of run 1"]
    assert [int(body.partition(", run ")[2].partition(":")[0]) for _, body in told] == runs


@pytest.mark.parametrize("how", [("--once",), ("--run-now",)])
def test_a_signal_while_the_database_is_away_ends_a_night_as_stopped(how: tuple[str], tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    process = subprocess.Popen(
        job_command("nightly", *how, "--database-url", url), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "waiting up to" not in process.stderr.readline():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "stopped by SIGTERM: the database did not answer: " in said


def test_the_commit_is_known_to_users_who_do_not_own_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    monkeypatch.delenv("JOB_GIT_COMMIT", raising=False)
    own = environment()["git"]
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert environment()["git"] == own
    assert own is not None


def test_what_a_run_was_compared_with_later_does_not_change_its_night(sqlite_url: str) -> None:
    from job.verdicts.drift import compare

    with Store(sqlite_url, create=True) as store:
        for seed in (0, 1):
            row = scheduled_runs.add_due(store, "0 2 * * * UTC", EVENING + timedelta(days=seed))
            writer = store.start_run(
                dataset_row(),
                epochs=5,
                learning_rate=0.1,
                seed=0,
                environment={},
                trigger="nightly",
                scheduled_run=row.id,
            )
            writer.append("paddle", history(5, seed=seed))
            writer.finish("completed")
        compare(store, store.run(2), store.run(1))
        compare(store, store.run(2), store.run(1), tolerance=100)
        drift = scheduled_runs.find(store, 2).drift
        assert drift is not None
        assert (drift.passed, drift.tolerance) == (False, 0)
