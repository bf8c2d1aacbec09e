"""What befalls a scheduler: clocks that jump, slow stores, children that die or are at work for long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from db import nights
from db.store import Store
from job.environment import environment
from job.schedule import Schedule
from job.scheduler import NightlyScheduler
from job.training import Cancelled
from tests.conftest import ROOT, job_command
from tests.samples import dataset_row, history
from tests.test_scheduler import EVENING, NOTHING, Told, outcomes, run_until, scheduler, wait_for


def test_a_night_off_the_grid_is_missed_once(sqlite_url: str) -> None:
    told: Told = []
    with time_machine.travel(EVENING, tick=False) as clock:
        killed = scheduler(sqlite_url)
        killed._begin()
        with Store(sqlite_url) as store:  # as --run-now has it, killed before its child began
            killed._plan(store, EVENING + timedelta(minutes=1))
        for day in (2, 3):
            clock.move_to(EVENING + timedelta(days=day))
            run_until(scheduler(sqlite_url, NOTHING, told), clock, EVENING + timedelta(days=day, hours=1))
    assert [outcome for _, outcome in outcomes(sqlite_url)] == [*["missed"] * 4, "due"]
    assert [body.split(" ")[0] for title, body in told if title == "a night was missed"] == ["3", "the"]


def test_a_night_in_the_hour_that_summer_time_skips_is_missed_once(sqlite_url: str) -> None:
    told: Told = []
    berlin = Schedule("0 2 * * *", "Europe/Berlin")

    def nightly() -> NightlyScheduler:
        return NightlyScheduler(
            berlin,
            NOTHING,
            lambda: Store(sqlite_url, create=True),
            lambda *news: told.append(news),
            Cancelled(),
        )

    saturday = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
    with time_machine.travel(saturday, tick=False) as clock:
        nightly()._begin()
        for day in (2, 3):
            clock.move_to(saturday + timedelta(days=day))
            nightly()._begin()
    assert len(told) == 2
    assert "2 nights were missed" in told[0][1]
    assert "the night of" in told[1][1]


@pytest.mark.process
def test_a_store_that_is_slow_to_open_loses_no_night(sqlite_url: str) -> None:
    stop = Cancelled()
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
            wait_for(lambda: [n for n in nights.nights(store) if n.outcome == "failed"], 30)
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.process
def test_a_night_at_work_is_not_missed(sqlite_url: str) -> None:
    told: Told = []
    waits = [sys.executable, "-c", "import time; time.sleep(60)"]
    with time_machine.travel(EVENING, tick=False) as clock:
        busy = scheduler(sqlite_url, waits, told)
        busy._begin()
        clock.move_to(EVENING + timedelta(hours=4))
        thread = threading.Thread(target=busy.night)
        thread.start()
        wait_for(lambda: busy.children)
        clock.move_to(EVENING + timedelta(hours=28))
        busy._overlapped(None)
        found = [outcome for _, outcome in outcomes(sqlite_url)]
        busy.stop.number = signal.SIGTERM
        busy.stop.set()
        for child in busy.children.values():
            child.terminate()
        thread.join(30)
    assert found == ["due", "skipped", "due"]
    assert told == []
    # Stopped before its run began: whoever starts next may still run it.
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["due", "skipped", "due"]


@pytest.mark.process
def test_a_night_that_ends_badly_after_its_run_is_told_of(sqlite_url: str) -> None:
    told: Told = []
    with Store(sqlite_url, create=True) as store:
        store.notice_crashes()
    program = (
        "import sys; from db.store import Store; from tests.samples import dataset_row, history\n"
        f"with Store({sqlite_url!r}) as store:\n"
        "    writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={},\n"
        "                             trigger='nightly', night=int(sys.argv[1]))\n"
        "    writer.append('paddle', history(5)); writer.finish('completed')\n"
        "sys.exit(2)"
    )
    with time_machine.travel(EVENING, tick=False) as clock:
        failing = scheduler(sqlite_url, [sys.executable, "-c", program], told)
        failing._begin()
        clock.move_to(EVENING + timedelta(hours=4))
        failing.night()
    assert told == [("a night went wrong", "night 1, run 1: its process ended with status 2")]


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
    from job.compare import compare

    with Store(sqlite_url, create=True) as store:
        for seed in (0, 1):
            row = nights.plan(store, "0 2 * * * UTC", EVENING + timedelta(days=seed))
            writer = store.start_run(
                dataset_row(),
                epochs=5,
                learning_rate=0.1,
                seed=0,
                environment={},
                trigger="nightly",
                night=row.id,
            )
            writer.append("paddle", history(5, seed=seed))
            writer.finish("completed")
        compare(store, store.run(2), store.run(1))
        compare(store, store.run(2), store.run(1), tolerance=100)
        drift = nights.find(store, 2).drift
        assert drift is not None
        assert (drift.passed, drift.tolerance) == (False, 0)
