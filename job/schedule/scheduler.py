"""Starts each scheduled run in its own process when it is due, and records those that did not start."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from db import scheduled_runs
from db.schema import ScheduledRunRow
from db.store import Store
from job.errors import in_words
from job.log import log_line
from job.schedule.cron import Schedule
from job.schedule.notify import bad_news
from job.stop import StopRequest
from job.verdicts.fail_on import FailOn

GRACE = timedelta(hours=6)
"""how late a run may still start: after the machine was suspended, or the scheduler restarted"""
CLOCK_POLL = 60.0
"""seconds between checks of the clock: a wait does not count the time that a machine is suspended"""
CHILD_POLL = 0.5
"""seconds between checks of a running process"""
MOST_MISSED = 100
"""missed runs that are recorded after a gap: the latest ones"""


@dataclass(frozen=True, slots=True)
class Child:
    """The process of a scheduled run."""

    row: ScheduledRunRow
    process: subprocess.Popen[bytes]


@dataclass
class NightlyScheduler:
    """Starts the runs of one schedule until `stop` is set.

    `command` trains one run; the scheduled run's id is appended to it. `open_store` opens the store for one
    operation. `notify` is called with a title and a body if something went wrong; failed verdicts that do not
    count for `fail_on` are not.
    """

    schedule: Schedule
    command: Sequence[str]
    open_store: Callable[[], Store]
    notify: Callable[[str, str], None]
    stop: StopRequest
    fail_on: FailOn = FailOn.drift
    child: Child | None = field(default=None, init=False)
    """one at a time: a run that is due in the meantime is skipped"""

    def run(self, run_now: bool = False) -> None:
        """Start runs until stopped; the first one at once if `run_now`, or if one was due within GRACE.

        Raises StoreError if the store cannot be opened at the start.
        """
        now = datetime.now(UTC)
        following, late = self._begin(now)
        with self._reporting_failures():
            if late:
                self._start_due(now)
            elif run_now:
                with self.open_store() as store:
                    self._start(self._plan(store, now))
        while not self.stop.wait(self._pause(following)):
            with self._reporting_failures():
                self._attend()
            now = datetime.now(UTC)
            if now >= following:
                following = self._next(now)
                with self._reporting_failures():
                    self._start_due(now)
        if self.child is not None:
            self.child.process.send_signal(self.stop.number or signal.SIGTERM)
            self.child.process.wait()
            with self._reporting_failures():
                self._attend()

    def _pause(self, following: datetime) -> float:
        """Seconds until the next check."""
        until_due = max(0.0, (following - datetime.now(UTC)).total_seconds())
        return min(until_due, CLOCK_POLL if self.child is None else CHILD_POLL)

    @contextmanager
    def _reporting_failures(self) -> Iterator[None]:
        """Log and notify any failure of one run, so that the next run still starts."""
        try:
            yield
        except Exception as error:
            log_line(f"error: {in_words(error)}", "error")
            if not self.stop.is_set():
                self.notify("a scheduled run could not be started", in_words(error))

    def _begin(self, now: datetime) -> tuple[datetime, bool]:
        """Settle the runs planned by other schedules and the missed runs, and plan the next run.

        Return when the next run is due, and whether an earlier one can still start.
        """
        with self.open_store() as store:
            replaced = scheduled_runs.replace_schedules(store, str(self.schedule))
            self._report_missed(replaced, len(replaced))
            scheduled_runs.give_up_unscheduled(store, GRACE.total_seconds())
            self._give_up(store, now - GRACE)
            row = scheduled_runs.planned(store, str(self.schedule))
            following = self._next(now)
            self._plan(store, following)
        log_line(
            f"schedule {self.schedule}: the next run is due at {following:%Y-%m-%d %H:%M %Z}", "schedule"
        )
        return following, row is not None and row.due_at <= now

    def _start_due(self, now: datetime) -> None:
        """Start the run that is due, record it as skipped if another still runs, and plan the next one."""
        with self.open_store() as store:
            self._plan(store, self._next(now))
            due = list(self.schedule.between(now - GRACE, now))
            # In UTC: after the hour that summer time skips, local time minus a microsecond is an hour later.
            before = due[-1].astimezone(UTC) - timedelta(microseconds=1) if due else now - GRACE
            self._give_up(store, before)
            if not due:
                return
            row = self._plan(store, due[-1])
            if row.status != "due":  # another scheduler took it
                return
            if self.child is None:
                self._start(row)
            elif scheduled_runs.settle(store, row.id, "skipped", "the previous one is still running"):
                log_line(f"scheduled run {row.id} is skipped: the previous one is still running", "skipped")

    def _start(self, row: ScheduledRunRow) -> None:
        """Start a run in its own process and session; it receives Ctrl-C through us, once."""
        if not self.stop.is_set():
            process = subprocess.Popen([*self.command, str(row.id)], start_new_session=True)  # noqa: S603
            self.child = Child(row, process)

    def _attend(self) -> None:
        """If the process has ended, record and notify what it could not record itself."""
        child = self.child
        if child is None or (status := child.process.poll()) is None:
            return
        self.child = None
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        stopped = self.stop.is_set() and status in (-self.stop.number, 128 + self.stop.number)
        with self.open_store() as store:
            if not stopped:  # else a run that had not begun stays due: the next scheduler starts it late
                scheduled_runs.settle(store, child.row.id, "failed", f"its process {how} before a run began")
            store.mark_crashed()
            scheduled_run = scheduled_runs.find(store, child.row.id)
            verdicts = store.verdicts(scheduled_run.run.id) if scheduled_run.run else []
        news = bad_news(scheduled_run, verdicts, self.fail_on)
        judged = status == 1 and self.fail_on.failed(verdicts)
        if status and not stopped and scheduled_run.run is not None and news is None and not judged:
            news = f"scheduled run {child.row.id}, run {scheduled_run.run.id}: its process {how}"
        if news:
            self.notify("a scheduled run failed", news)

    def _give_up(self, store: Store, until: datetime) -> None:
        """Record the runs that were due up to a moment as missed, and notify of them."""
        first = scheduled_runs.planned(store, str(self.schedule))
        if first is None or first.due_at > until:
            return
        moments = [each.astimezone(UTC) for each in self.schedule.between(first.due_at, until)]
        for moment in moments[-MOST_MISSED:]:
            self._plan(store, moment)
        rows = scheduled_runs.due_until(store, str(self.schedule), until)
        missed = [
            row
            for row in rows
            if not (self.child and self.child.row.id == row.id)
            and scheduled_runs.settle(store, row.id, "missed", "no scheduler was there to start it")
        ]
        unrecorded = set(moments[:-MOST_MISSED]) - {row.due_at for row in rows}
        self._report_missed(missed, len(missed) + len(unrecorded))

    def _report_missed(self, missed: Sequence[ScheduledRunRow], count: int) -> None:
        """Log and notify that `count` runs were missed; `missed` has the latest of them."""
        if not missed:
            return
        first, last = (row.due_at.astimezone(self.schedule.zone) for row in (missed[0], missed[-1]))
        news = f"the scheduled run of {first:%Y-%m-%d %H:%M %Z} was missed"
        if count > 1:
            news = (
                f"{count} scheduled runs were missed, from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M %Z}"
            )
        log_line(news, "missed", nights=count)
        self.notify("a scheduled run was missed", news)

    def _plan(self, store: Store, due_at: datetime) -> ScheduledRunRow:
        return scheduled_runs.add_due(store, str(self.schedule), due_at)

    def _next(self, now: datetime) -> datetime:
        """When the first run after `now` is due, in the schedule's zone."""
        return self.schedule.after(now + timedelta(microseconds=1))
