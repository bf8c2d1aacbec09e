"""The scheduler starts every run when it is due, once, and records those that it could not start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from db import scheduled_runs
from db.schema import ScheduledRunRow
from db.store import Store
from job.schedule.cron import Schedule
from job.schedule.scheduler import NightlyScheduler
from job.stop import StopRequest
from tests.conftest import ROOT, job_command
from tests.samples import wait_for

EVENING = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
DAILY = Schedule("0 2 * * *", "UTC")
NIGHT = job_command("nightly", "--once", "--night")
NOTHING = [sys.executable, "-c", "import sys; sys.exit(0)"]
SweepProgress = list[tuple[str, str]]
pytestmark = pytest.mark.process


class FakeClock(StopRequest):
    """A stop request in simulated time: a wait advances the clock, and the request is set at `until`."""

    def __init__(self, clock: Any, until: datetime, before_wait: Callable[[datetime], None]) -> None:
        super().__init__()
        self.clock = clock
        self.until = until
        self.before_wait = before_wait

    def wait(self, timeout: float | None = None) -> bool:
        wakes_at = datetime.now(UTC) + timedelta(seconds=timeout or 0)
        self.before_wait(wakes_at)
        if wakes_at > self.until:
            self.number = signal.SIGTERM
            self.set()
        if not self.is_set():
            self.clock.move_to(max(wakes_at, datetime.now(UTC)))
        return self.is_set()


def scheduler(
    url: str,
    command: Sequence[str] = NIGHT,
    told: SweepProgress | None = None,
    stop: StopRequest | None = None,
) -> NightlyScheduler:
    def notify(title: str, body: str) -> None:
        if told is not None:
            told.append((title, body))

    return NightlyScheduler(DAILY, command, lambda: Store(url, create=True), notify, stop or StopRequest())


def run_until(
    scheduler: NightlyScheduler,
    clock: Any,
    until: datetime,
    *,
    run_now: bool = False,
    before_wait: Callable[[datetime], None] | None = None,
) -> None:
    """Run the scheduler in simulated time. Its processes take no time, unless `before_wait` is given."""

    def end_of_child(_: datetime) -> None:
        if scheduler.child is not None:
            scheduler.child.process.wait(60)

    scheduler.stop = FakeClock(clock, until, before_wait or end_of_child)
    scheduler.run(run_now)


def outcomes(url: str) -> list[tuple[datetime, str]]:
    with Store(url) as store:
        return [
            (scheduled_run.row.due_at, scheduled_run.outcome)
            for scheduled_run in reversed(scheduled_runs.newest(store))
        ]


def test_three_nights_run_when_they_are_due_and_agree(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOB_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("JOB_EPOCHS", "40")
    told: SweepProgress = []
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
    judged = [("integrity", True), ("parity", True), ("exact", True), ("exact", True)]
    assert verdicts == [judged, *[[*judged, ("drift", True)]] * 2]
    assert told == []
    said = capfd.readouterr()
    assert said.out.count("drift: passed: against run ") == 2
    assert "schedule 0 2 * * * UTC: the next run is due at 2026-03-02 02:00 UTC" in said.err


def test_nights_without_a_scheduler_are_missed_and_told_of(sqlite_url: str) -> None:
    told: SweepProgress = []
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
            "a scheduled run was missed",
            "4 scheduled runs were missed, from 2026-03-02 02:00 to 2026-03-05 02:00 UTC",
        )
    ]


def test_missed_nights_are_told_of_by_the_clock_of_the_schedule(sqlite_url: str) -> None:
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        for days in (0, 2):
            clock.move_to(EVENING + timedelta(days=days))
            berlin = scheduler(sqlite_url, NOTHING, told)
            berlin.schedule = Schedule("0 2 * * *", "Europe/Berlin")
            run_until(berlin, clock, datetime.now(UTC))
    news = "2 scheduled runs were missed, from 2026-03-02 02:00 to 2026-03-03 02:00 CET"
    assert told == [("a scheduled run was missed", news)]


def test_the_clock_is_read_each_minute_since_a_wait_does_not_count_a_suspension(sqlite_url: str) -> None:
    waits: list[timedelta] = []
    with time_machine.travel(EVENING, tick=False) as clock:
        idle = scheduler(sqlite_url, NOTHING)
        until = EVENING + timedelta(minutes=3)
        run_until(idle, clock, until, before_wait=lambda wakes: waits.append(wakes - datetime.now(UTC)))
    assert max(waits) <= timedelta(minutes=1)


def test_a_night_of_another_scheduler_that_died_before_its_run_is_not_due_for_ever(sqlite_url: str) -> None:
    with Store(sqlite_url, create=True) as store:
        for hours in (5, 7):
            died = datetime.now(UTC) - timedelta(hours=hours)
            scheduled_runs.add_unscheduled(store, ScheduledRunRow(due_at=died, status="due"))
    stop = StopRequest()
    stop.set()
    scheduler(sqlite_url, NOTHING, stop=stop).run()
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["failed", "due", "due"]


def test_a_night_that_was_due_a_while_ago_begins_late(sqlite_url: str) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        run_until(scheduler(sqlite_url, NOTHING), clock, EVENING + timedelta(hours=1))
        clock.move_to(EVENING + timedelta(hours=9))
        run_until(scheduler(sqlite_url, NOTHING), clock, EVENING + timedelta(hours=10))
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["failed", "due"]


def test_a_night_is_run_at_once_where_that_is_asked_for(sqlite_url: str) -> None:
    with time_machine.travel(EVENING, tick=False) as clock:
        run_until(scheduler(sqlite_url, NOTHING), clock, EVENING + timedelta(hours=1), run_now=True)
    assert outcomes(sqlite_url)[0] == (EVENING, "failed")


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
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        failing = scheduler(sqlite_url, [sys.executable, "-c", program], told)
        run_until(failing, clock, EVENING + timedelta(days=2))
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["failed", "failed", "due"]
    assert [f"its process {how} before a run began" in body for _, body in told] == [True, True]


def test_a_store_that_cannot_be_opened_ends_a_night_but_not_the_next(sqlite_url: str) -> None:
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        broken = scheduler(sqlite_url, NOTHING, told)
        opened = broken.open_store

        def fails() -> Store:
            if EVENING < datetime.now(UTC) < EVENING + timedelta(days=1):
                raise OSError("no more files")
            return opened()

        broken.open_store = fails
        run_until(broken, clock, EVENING + timedelta(days=2))
    assert told[0] == ("a scheduled run could not be started", "unexpected OSError: no more files")
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["missed", "failed", "due"]


def test_a_night_that_is_due_while_the_last_one_runs_is_skipped_and_that_one_not_missed(
    sqlite_url: str,
) -> None:
    told: SweepProgress = []
    found: list[list[str]] = []
    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    until = EVENING + timedelta(hours=29)
    with time_machine.travel(EVENING, tick=False) as clock:
        busy = scheduler(sqlite_url, waits, told)

        def remember(wakes_at: datetime) -> None:
            if wakes_at > until:
                found.append([outcome for _, outcome in outcomes(sqlite_url)])

        run_until(busy, clock, until, before_wait=remember)
    assert found == [["due", "skipped", "due"]]
    assert [title for title, _ in told] == []


def test_a_night_that_was_stopped_before_its_run_began_stays_due(sqlite_url: str) -> None:
    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    own_session: list[bool] = []
    with time_machine.travel(EVENING, tick=False) as clock:
        busy = scheduler(sqlite_url, waits)

        def stop(_: datetime) -> None:
            if busy.child is not None:
                child = busy.child.process.pid
                own_session.append(os.getsid(child) == child)
                busy.stop.number = signal.SIGTERM
                busy.stop.set()

        run_until(busy, clock, EVENING + timedelta(days=2), before_wait=stop)
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["due", "due"]
    assert own_session == [True], "else Ctrl-C reaches it twice, which ends a training at once"


def jumps(clock: Any, moment: datetime) -> Callable[[datetime], None]:
    """The effect of a wait on a machine that is suspended meanwhile, until `moment`."""

    def jump(_: datetime) -> None:
        if datetime.now(UTC) < moment:
            clock.move_to(moment)

    return jump


def test_a_night_that_is_too_late_to_begin_is_missed(sqlite_url: str) -> None:
    due = EVENING + timedelta(hours=4)
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        late = due + timedelta(hours=6.5)
        sleepy = scheduler(sqlite_url, NOTHING, told)
        run_until(sleepy, clock, late + timedelta(minutes=2), before_wait=jumps(clock, late))
    assert outcomes(sqlite_url) == [(due, "missed"), (due + timedelta(days=1), "due")]
    assert told == [("a scheduled run was missed", "the scheduled run of 2026-03-02 02:00 UTC was missed")]


def test_of_nights_that_came_due_together_the_last_is_run_and_the_others_are_missed(sqlite_url: str) -> None:
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        hourly = scheduler(sqlite_url, NOTHING, told)
        hourly.schedule = Schedule("30 * * * *", "UTC")
        awake = EVENING + timedelta(hours=2.5)
        jump = jumps(clock, awake)

        def jump_and_wait(wakes_at: datetime) -> None:
            jump(wakes_at)
            if hourly.child is not None:
                hourly.child.process.wait(60)

        run_until(hourly, clock, awake + timedelta(minutes=2), before_wait=jump_and_wait)
    half_past = [EVENING + timedelta(hours=hours) for hours in (0.5, 1.5, 2.5, 3.5)]
    assert outcomes(sqlite_url) == list(zip(half_past, ["missed", "missed", "failed", "due"], strict=True))
    news = "2 scheduled runs were missed, from 2026-03-01 22:30 to 2026-03-01 23:30 UTC"
    assert told[0] == ("a scheduled run was missed", news)


@pytest.mark.parametrize("planned", [[4], [0, 4], [0]])  # at 22:00 by --run-now
def test_of_very_many_missed_nights_the_latest_are_on_record_and_all_are_told_of(
    planned: list[int], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.schedule.scheduler.MOST_MISSED", 3)
    told: SweepProgress = []
    later = EVENING + timedelta(days=10)
    first = [EVENING + timedelta(hours=hours) for hours in planned]
    with time_machine.travel(later, tick=False) as clock:
        with Store(sqlite_url, create=True) as store:
            for due_at in first:
                scheduled_runs.add_due(store, str(DAILY), due_at)
        run_until(scheduler(sqlite_url, NOTHING, told), clock, later)
    missed = [due_at for due_at, outcome in outcomes(sqlite_url) if outcome == "missed"]
    assert missed == [*first, *(EVENING + timedelta(days=day, hours=4) for day in (7, 8, 9))]
    count = 10 + (0 in planned)
    news = f"{count} scheduled runs were missed, from {first[0]:%Y-%m-%d %H:%M} to 2026-03-11 02:00 UTC"
    assert told == [("a scheduled run was missed", news)]


def test_an_old_schedules_nights_are_told_of_as_missed(sqlite_url: str) -> None:
    told: SweepProgress = []
    with time_machine.travel(EVENING, tick=False) as clock:
        with Store(sqlite_url, create=True) as store:
            # The database has its own clock, which does not move.
            scheduled_runs.add_due(store, "0 5 * * * UTC", EVENING - timedelta(days=3000))
        run_until(scheduler(sqlite_url, NOTHING, told), clock, EVENING)
    assert [outcome for _, outcome in outcomes(sqlite_url)] == ["missed", "due"]
    assert [title for title, _ in told] == ["a scheduled run was missed"]


def test_of_two_schedulers_one_gets_the_night(sqlite_url: str, tmp_path: Any) -> None:
    command = [sys.executable, "-c", f"import sys; open({str(tmp_path / 'log')!r}, 'a').write(sys.argv[1])"]
    due = EVENING + timedelta(hours=4)
    with time_machine.travel(EVENING, tick=False) as clock:
        first, second = scheduler(sqlite_url, command), scheduler(sqlite_url, command)

        def let_the_second_be_quicker(wakes_at: datetime) -> None:
            if wakes_at >= due > datetime.now(UTC):
                run_until(second, clock, due + timedelta(minutes=1))
            if first.child is not None:
                first.child.process.wait(60)

        run_until(first, clock, due + timedelta(hours=1), before_wait=let_the_second_be_quicker)
    assert (tmp_path / "log").read_text() == "1"


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
        assert [scheduled_run.outcome for scheduled_run in scheduled_runs.newest(store)] == [
            "due",
            "interrupted",
        ]
    assert f"the schedule ends: stopped by {number.name}" in said
    assert "go on with: job resume 1" in said


def test_a_scheduled_run_trains_the_models_that_are_named(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "my models").mkdir()
    mine = shutil.copy(ROOT / "examples" / "lists_linear.py", tmp_path / "my models" / "mine.py")
    options = ("--run-now", "--epochs", 3, "--model", "python", "--model", f"{mine}:Mine")
    command = job_command("nightly", *options, "--database-url", sqlite_url)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with Store(sqlite_url, create=True) as store:
        wait_for(lambda: store.runs() and store.run().status == "completed")
        process.terminate()
        process.communicate(timeout=30)
        assert [model.name for model in store.run().models] == ["python", "mine"]
