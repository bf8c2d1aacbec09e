"""The scheduler starts every night when it is due, once, and puts on record those that it could not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from db import nights
from db.errors import StoreError
from db.store import Store
from job.schedule import Schedule
from job.scheduler import NightlyScheduler
from job.training import Cancelled
from tests.conftest import job_command

EVENING = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
DAILY = Schedule("0 2 * * *", "UTC")
NIGHT = [sys.executable, "-m", "job", "nightly", "--once", "--night"]
NOTHING = [sys.executable, "-c", "import sys; sys.exit(0)"]
Told = list[tuple[str, str]]


class FakeClock(threading.Event):
    """Stands in for the event that APScheduler waits on: whenever it would sleep, the time has come."""

    def __init__(self, scheduler: NightlyScheduler, clock: Any, until: datetime) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.clock = clock
        self.until = until

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_set():
            return True
        wakes_at = datetime.now(UTC) + timedelta(seconds=timeout or 0)
        wait_for(lambda: not self.scheduler.children and no_job_begins(self.scheduler))
        if wakes_at > self.until:
            self.scheduler.stop.set()
            return super().wait(5)
        self.clock.move_to(max(wakes_at, datetime.now(UTC)))
        return True


def no_job_begins(scheduler: NightlyScheduler) -> bool:
    """Whether none of APScheduler's workers is between taking a job and starting its process."""
    return not any(scheduler.scheduler._lookup_executor("default")._instances.values())


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.01)


def scheduler(
    url: str, command: Sequence[str] = NIGHT, told: Told | None = None, stop: Cancelled | None = None
) -> NightlyScheduler:
    def notify(title: str, body: str) -> None:
        if told is not None:
            told.append((title, body))

    return NightlyScheduler(DAILY, command, lambda: Store(url, create=True), notify, stop or Cancelled())


def run_until(scheduler: NightlyScheduler, clock: Any, until: datetime, **options: bool) -> None:
    scheduler.scheduler._event = FakeClock(scheduler, clock, until)
    scheduler.run(**options)


def outcomes(url: str) -> list[tuple[datetime, str]]:
    with Store(url) as store:
        return [(night.row.due_at, night.outcome) for night in reversed(nights.nights(store))]


@pytest.mark.slow
def test_three_nights_run_when_they_are_due_and_agree(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOB_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JOB_EPOCHS", "40")
    told: Told = []
    with time_machine.travel(EVENING, tick=False) as clock:
        run_until(scheduler(sqlite_url, told=told), clock, EVENING + timedelta(days=3))
    first = EVENING + timedelta(hours=4)
    assert outcomes(sqlite_url) == [
        *((first + timedelta(days=n), "completed") for n in range(3)),
        (first + timedelta(days=3), "due"),
    ]
    with Store(sqlite_url) as store:
        assert [run.trigger for run in store.runs()] == ["nightly"] * 3
        verdicts = [[(v.kind, v.passed) for v in store.verdicts(run)] for run in (1, 2, 3)]
    assert verdicts == [[("parity", True)], *[[("parity", True), ("drift", True)]] * 2]
    assert told == []
    said = capfd.readouterr()
    assert said.out.count("drift: passed: against run ") == 2
    assert "nights by 0 2 * * * UTC; the next is due at 2026-03-02 02:00 UTC" in said.err


def test_nights_without_a_scheduler_are_missed_and_told_of(sqlite_url: str) -> None:
    told: Told = []
    with time_machine.travel(EVENING, tick=False) as clock:
        run_until(scheduler(sqlite_url, NOTHING), clock, EVENING + timedelta(hours=1))
        clock.move_to(EVENING + timedelta(days=4))
        run_until(scheduler(sqlite_url, NOTHING, told), clock, EVENING + timedelta(days=4, hours=1))
    first = EVENING + timedelta(hours=4)
    assert outcomes(sqlite_url) == [
        *((first + timedelta(days=n), "missed") for n in range(4)),
        (first + timedelta(days=4), "due"),
    ]
    assert told == [
        (
            "a night was missed",
            "4 nights were missed, from 2026-03-02 02:00 to 2026-03-05 02:00 UTC",
        )
    ]


@pytest.mark.process
def test_a_night_that_was_due_a_while_ago_begins_late(sqlite_url: str) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        run_until(scheduler(sqlite_url, NOTHING), clock, EVENING + timedelta(hours=1))
        clock.move_to(EVENING + timedelta(hours=9))
        run_until(scheduler(sqlite_url, NOTHING), clock, EVENING + timedelta(hours=10))
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["failed", "due"]


@pytest.mark.process
def test_a_night_is_run_at_once_where_that_is_asked_for(sqlite_url: str) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        run_until(scheduler(sqlite_url, NOTHING), clock, EVENING + timedelta(hours=1), run_now=True)
    assert outcomes(sqlite_url)[0] == (EVENING, "failed")


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("import sys; sys.exit(3)", "ended with status 3"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
    ],
)
def test_a_night_whose_process_fails_is_told_of_and_the_next_one_runs(
    program: str, how: str, sqlite_url: str
) -> None:
    told: Told = []
    with time_machine.travel(EVENING, tick=False) as clock:
        failing = scheduler(sqlite_url, [sys.executable, "-c", program], told)
        run_until(failing, clock, EVENING + timedelta(days=2))
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["failed", "failed", "due"]
    assert [f"its process {how} before a run began" in body for _, body in told] == [True, True]


@pytest.mark.process
def test_a_store_that_cannot_be_opened_ends_a_night_but_not_the_next(
    sqlite_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    told: Told = []
    with time_machine.travel(EVENING, tick=False) as clock:
        broken = scheduler(sqlite_url, NOTHING, told)
        opened = broken.open_store
        broken._begin()

        def fails(*_: object) -> Store:
            if datetime.now(UTC) < EVENING + timedelta(days=1):
                raise OSError("no more files")
            return opened()

        broken.open_store = fails
        broken._begin = lambda: None  # type: ignore[method-assign]
        broken._late = lambda now: False  # type: ignore[method-assign]
        run_until(broken, clock, EVENING + timedelta(days=2))
    assert told[0] == ("a night could not be run", "unexpected OSError: no more files")
    assert [outcome for _, outcome in outcomes(sqlite_url)][-2:] == ["failed", "due"]


def test_a_night_that_is_due_while_the_last_one_runs_is_skipped(sqlite_url: str) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        overlapping = scheduler(sqlite_url)
        overlapping._begin()
        clock.move_to(EVENING + timedelta(hours=4))
        overlapping._overlapped(None)
    assert outcomes(sqlite_url)[0] == (EVENING + timedelta(hours=4), "skipped")


@pytest.mark.process
def test_of_two_schedulers_one_gets_the_night(sqlite_url: str, tmp_path: Any) -> None:
    command = [sys.executable, "-c", f"import sys; open({str(tmp_path / 'log')!r}, 'a').write(sys.argv[1])"]
    with time_machine.travel(EVENING, tick=False) as clock:
        first, second = scheduler(sqlite_url, command), scheduler(sqlite_url, command)
        first._begin()
        second._begin()
        clock.move_to(EVENING + timedelta(hours=4))
        first.night()
        second.night()
    assert (tmp_path / "log").read_text() == "1"


@contextmanager
def apscheduler_at(clock: Any, due: NightlyScheduler, moment: datetime) -> Iterator[Any]:
    """APScheduler, started now, that looks at the clock once it shows that moment."""
    due._begin()
    due.scheduler.start()
    try:
        clock.move_to(moment)
        yield due.scheduler
    finally:
        due.scheduler.shutdown()


def test_apscheduler_tells_of_a_night_that_is_due_while_one_is_at_work(sqlite_url: str) -> None:
    due_at = EVENING + timedelta(hours=4)
    with (
        time_machine.travel(EVENING, tick=False) as clock,
        apscheduler_at(clock, scheduler(sqlite_url, NOTHING), due_at) as started,
    ):
        started._lookup_executor("default")._instances["nightly"] = 1  # as if one were at work
        started._process_jobs()
    assert outcomes(sqlite_url) == [(due_at, "skipped"), (due_at + timedelta(days=1), "due")]


def test_apscheduler_tells_of_a_night_that_is_too_late(sqlite_url: str) -> None:
    due_at = EVENING + timedelta(hours=4)
    told: Told = []
    with (
        time_machine.travel(EVENING, tick=False) as clock,
        apscheduler_at(clock, scheduler(sqlite_url, NOTHING, told), due_at + timedelta(hours=6.5)) as started,
    ):
        started._process_jobs()
        wait_for(lambda: len(outcomes(sqlite_url)) == 2, 20)
    assert outcomes(sqlite_url) == [(due_at, "missed"), (due_at + timedelta(days=1), "due")]
    assert told == [("a night was missed", "the night of 2026-03-02 02:00 UTC was missed")]


def test_of_very_many_missed_nights_the_latest_are_on_record_and_all_are_told_of(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.scheduler.MOST_MISSED", 3)
    told: Told = []
    with time_machine.travel(EVENING, tick=False) as clock:
        scheduler(sqlite_url)._begin()
        clock.move_to(EVENING + timedelta(days=10))
        scheduler(sqlite_url, told=told)._begin()
    days = [(due_at - EVENING).days for due_at, outcome in outcomes(sqlite_url) if outcome == "missed"]
    assert days == [0, 7, 8, 9]
    news = "10 nights were missed, from 2026-03-02 02:00 to 2026-03-11 02:00 UTC"
    assert told == [("a night was missed", news)]


def test_of_nights_that_came_due_together_the_last_is_run_and_the_others_are_missed(sqlite_url: str) -> None:
    told: Told = []
    with time_machine.travel(EVENING, tick=False) as clock:
        hourly = scheduler(sqlite_url, told=told)
        hourly.schedule = Schedule("30 * * * *", "UTC")
        hourly._begin()
        clock.move_to(EVENING + timedelta(hours=2.5))
        with hourly.open_store() as store:
            row = hourly._tonight(store, datetime.now(UTC))
            assert row is not None
            assert row.due_at == EVENING + timedelta(hours=2.5)
            nights.settle(store, row.id, "skipped")
            assert hourly._tonight(store, datetime.now(UTC)) is None
    half_past = [EVENING + timedelta(hours=hours) for hours in (0.5, 1.5, 2.5, 3.5)]
    assert outcomes(sqlite_url) == list(zip(half_past, ["missed", "missed", "skipped", "due"], strict=True))
    assert told == [
        ("a night was missed", "2 nights were missed, from 2026-03-01 22:30 to 2026-03-01 23:30 UTC")
    ]


def test_a_store_that_is_away_is_told_of_once_a_night_is_due(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def away() -> Store:
        raise StoreError("the database is away")

    told: Told = []
    cut_off = scheduler(sqlite_url, told=told)
    cut_off.open_store = away
    cut_off._missed(None)
    cut_off._overlapped(None)
    assert told == []
    cut_off.night()
    assert told == [("a night could not be run", "the database is away")]
    assert capsys.readouterr().err == "job: error: the database is away\n" * 3


def test_a_stop_while_a_night_is_about_to_begin_starts_nothing(sqlite_url: str) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        stopped = scheduler(sqlite_url, NOTHING)
        stopped._begin()
        clock.move_to(EVENING + timedelta(hours=4))

        class Waiting(AbstractContextManager[None]):
            def __enter__(self) -> None:
                stopped.stop.set()  # while the lock is waited for

            def __exit__(self, *_: object) -> None:
                pass

        stopped._starting = Waiting()  # type: ignore[assignment]
        stopped.night()
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["due", "due"]


def test_an_old_schedules_nights_are_told_of_as_missed(sqlite_url: str) -> None:
    told: Told = []
    with time_machine.travel(EVENING, tick=False):
        with Store(sqlite_url, create=True) as store:
            # The database has a clock of its own, which nothing moves.
            nights.plan(store, "0 5 * * * UTC", EVENING - timedelta(days=3000))
        scheduler(sqlite_url, told=told)._begin()
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["missed", "due"]
    assert [title for title, _ in told] == ["a night was missed"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_night_in_work_and_the_scheduler(number: signal.Signals, sqlite_url: str) -> None:
    options = ("--run-now", "--epochs", 2_000_000, "--database-url", sqlite_url)
    process = subprocess.Popen(job_command("nightly", *options), stderr=subprocess.PIPE, text=True)
    with Store(sqlite_url, create=True) as store:
        wait_for(lambda: store.runs() and store.progress(store.run().id))
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 128 + number
        assert store.run().status == "interrupted"
        assert [night.outcome for night in nights.nights(store)] == ["due", "interrupted"]
    assert f"no more nights: stopped by {number.name}" in said
    assert "go on with: job resume 1" in said
