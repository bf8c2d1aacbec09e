"""Starts every night in a process of its own when it is due, and puts on record those that did not begin."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from db import scheduled_runs
from db.errors import LedgerError
from db.schema import ScheduledRunRow
from db.store import Store
from job.log import say
from job.schedule.cron import Schedule
from job.schedule.nightly import bad_news
from job.stop import StopRequest

GRACE = timedelta(hours=6)
"""how late a night may still begin: after a suspended machine wakes up, or the scheduler is back"""
LOOK = 60.0
"""seconds between two looks at the clock"""
MOST_MISSED = 100
"""nights of one gap that are put on record as missed, the latest ones"""


class NightlyScheduler:
    """The nights of one schedule, until `stop` is set.

    `command` runs one night; the number of the night is appended to it. `open_store` gives a store for one
    piece of work. `notify` is told title and body of what went wrong.
    """

    def __init__(
        self,
        schedule: Schedule,
        command: Sequence[str],
        open_store: Callable[[], Store],
        notify: Callable[[str, str], None],
        stop: StopRequest,
    ) -> None:
        self.schedule = schedule
        self.command = list(command)
        self.open_store = open_store
        self.notify = notify
        self.stop = stop
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        """by the id of the night that each runs"""
        self._starting = threading.Lock()
        """between a look at `stop` and a child's start, so that none is started behind a stop's back"""
        # It complains of nights that are skipped or missed, which we say ourselves, and store.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL + 1)
        self.scheduler = BackgroundScheduler(
            timezone=schedule.zone, executors={"default": ThreadPoolExecutor(4)}
        )
        self.scheduler.add_job(
            self.night,
            schedule.trigger,
            id="nightly",
            coalesce=True,
            max_instances=1,
            misfire_grace_time=int(GRACE.total_seconds()),
        )
        self.scheduler.add_listener(self._overlapped, EVENT_JOB_MAX_INSTANCES)
        self.scheduler.add_listener(self._missed, EVENT_JOB_MISSED)

    def run(self, run_now: bool = False) -> None:
        """Start nights until stopped, the first one at once if `run_now`, or if one was due not long ago."""
        self._begin()
        now = datetime.now(UTC)
        if self._late(now):
            self.scheduler.add_job(self.night, next_run_time=now, id="late", misfire_grace_time=None)
        elif run_now:
            self.scheduler.add_job(
                self.night, args=[now], next_run_time=now, id="now", misfire_grace_time=None
            )
        self.scheduler.start()
        while not self.stop.wait(LOOK):
            self.scheduler.wakeup()  # its own clock stands still while the machine is suspended
        with self._starting:
            for child in list(self.children.values()):
                child.send_signal(self.stop.number or signal.SIGTERM)
        self.scheduler.shutdown(wait=True)

    def night(self, due_at: datetime | None = None) -> None:
        """Run the night that is due now, or one of your own choice, and say what became of it."""
        try:
            with self.open_store() as store:
                row = self._tonight(store, datetime.now(UTC)) if due_at is None else self._plan(store, due_at)
            if row is not None:
                self._attend(row)
        except LedgerError as error:
            say(f"error: {error}", "error")
            self.notify("a night could not be run", str(error))
        except Exception as error:  # the next night must come all the same
            say(f"error: unexpected {type(error).__name__}: {error}", "error")
            self.notify("a night could not be run", f"unexpected {type(error).__name__}: {error}")

    def _attend(self, row: ScheduledRunRow) -> None:
        """Run a night in a process of its own, and see to what that process cannot tell any more."""
        with self._starting:
            if self.stop.is_set():
                return
            # In a session of its own, so that Ctrl-C reaches it once, through us.
            child = subprocess.Popen([*self.command, str(row.id)], start_new_session=True)  # noqa: S603
            self.children[row.id] = child
        status = child.wait()
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        stopped = self.stop.is_set() and status in (-self.stop.number, 128 + self.stop.number)
        try:
            with self.open_store() as store:
                if not stopped:  # a night that had not begun is left due: whoever starts next runs it late
                    scheduled_runs.settle(store, row.id, "failed", f"its process {how} before a run began")
                store.notice_crashes()
                night = scheduled_runs.find(store, row.id)
                verdicts = store.verdicts(night.run.id) if night.run else []
        finally:
            del self.children[row.id]
        news = bad_news(night, verdicts)
        if status and not stopped and night.run is not None and news is None:
            news = f"night {row.id}, run {night.run.id}: its process {how}"
        if news:
            self.notify("a night went wrong", news)

    def _begin(self) -> None:
        """Clear away what other schedules left, put missed nights and the next one on record, and say so."""
        now = datetime.now(UTC)
        with self.open_store() as store:
            replaced = scheduled_runs.replace_schedules(store, str(self.schedule))
            self._tell_missed(replaced, len(replaced))
            scheduled_runs.give_up_unscheduled(store, GRACE.total_seconds())
            self._give_up(store, now - GRACE)
            following = self._plan_next(store, now)
        say(f"nights by {self.schedule}; the next is due at {following:%Y-%m-%d %H:%M %Z}", "schedule")

    def _late(self, now: datetime) -> bool:
        """Whether a night was due when nobody was there, and not too long ago to begin it now."""
        with self.open_store() as store:
            row = scheduled_runs.planned(store, str(self.schedule))
        return row is not None and row.due_at <= now

    def _tonight(self, store: Store, now: datetime) -> ScheduledRunRow | None:
        """The night that is due, with those before it given up; None where another scheduler has it."""
        due = list(self.schedule.between(now - GRACE, now))
        self._plan_next(store, now)
        if not due:
            return None
        row = scheduled_runs.plan(store, str(self.schedule), due[-1])
        self._give_up(store, due[-1] - timedelta(microseconds=1))
        return row if row.status == "due" else None

    def _give_up(self, store: Store, until: datetime) -> None:
        """Put the nights on record as missed that were due up to a moment, and tell of them."""
        first = scheduled_runs.planned(store, str(self.schedule))
        if first is None or first.due_at > until:
            return
        moments = list(self.schedule.between(first.due_at, until))
        for moment in moments[-MOST_MISSED:]:
            self._plan(store, moment)
        missed = [
            row
            for row in scheduled_runs.due_until(store, str(self.schedule), until)
            if row.id not in self.children
            and scheduled_runs.settle(store, row.id, "missed", "no scheduler was there to start it")
        ]
        self._tell_missed(missed, len(missed) + len(moments[1:-MOST_MISSED]))

    def _tell_missed(self, missed: Sequence[ScheduledRunRow], count: int) -> None:
        """Say, and notify, that so many nights were missed, of which these are on record."""
        if not missed:
            return
        first, last = (row.due_at.astimezone(self.schedule.zone) for row in (missed[0], missed[-1]))
        news = f"the night of {first:%Y-%m-%d %H:%M %Z} was missed"
        if count > 1:
            news = f"{count} nights were missed, from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M %Z}"
        say(news, "missed", nights=count)
        self.notify("a night was missed", news)

    def _plan(self, store: Store, due_at: datetime) -> ScheduledRunRow:
        return scheduled_runs.plan(store, str(self.schedule), due_at)

    def _plan_next(self, store: Store, now: datetime) -> datetime:
        """Put the next night on record as due; gives its moment, in the schedule's zone."""
        following: datetime = self.schedule.after(now + timedelta(microseconds=1))
        self._plan(store, following)
        return following

    def _overlapped(self, event: Any) -> None:
        """A night is due while the one before still runs."""
        try:
            with self.open_store() as store:
                row = self._tonight(store, datetime.now(UTC))
                if row is not None:
                    scheduled_runs.settle(store, row.id, "skipped", "the night before is still running")
                    say(f"night {row.id} is skipped: the night before is still running", "skipped")
        except LedgerError as error:
            say(f"error: {error}", "error")

    def _missed(self, event: Any) -> None:
        """The machine stood still for so long that a night is too late to begin."""
        try:
            with self.open_store() as store:
                self._give_up(store, datetime.now(UTC) - GRACE)
                self._plan_next(store, datetime.now(UTC))
        except LedgerError as error:
            say(f"error: {error}", "error")
