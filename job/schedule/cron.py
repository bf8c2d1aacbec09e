"""When nights are due: a cron expression in a time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from job.errors import ScheduleError

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
"""in cron's order, where Sunday is 0, and 7 as well"""
_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


class Schedule:
    """The moments that a cron expression names in a time zone, the machine's own by default.

    The expression is cron's, crontab(5), with two things in which APScheduler departs from it put right:
    Sunday is 0, and where both a day of the month and a weekday are given, either will do.

    Raises ScheduleError for an expression or a zone that cannot be read, or that never comes.
    """

    def __init__(self, cron: str, timezone: str | None = None) -> None:
        self.cron = " ".join(cron.split())
        self.zone = find_zone(timezone)
        fields = self.cron.split()
        if len(fields) != 5:
            raise ScheduleError(
                f"{cron!r} is no cron expression: it has {len(fields)} fields and needs five, "
                'minute, hour, day, month and weekday, like "0 2 * * *"'
            )
        minute, hour, day, month, weekday = fields
        common = {"minute": minute, "hour": hour, "month": month, "timezone": self.zone}
        try:
            weekdays = named_weekdays(weekday)
            if day.startswith("*") or weekday.startswith("*"):
                self.trigger = CronTrigger(day=day, day_of_week=weekdays, **common)
            else:
                either = [CronTrigger(day=day, **common), CronTrigger(day_of_week=weekdays, **common)]
                self.trigger = OrTrigger(either)
            never = self.after(datetime.now(self.zone)) is None
        except ValueError as error:
            raise ScheduleError(f"{cron!r} is no cron expression: {error}") from None
        if never:
            raise ScheduleError(f"{cron!r} names a day that never comes")

    def __str__(self) -> str:
        return f"{self.cron} {self.zone}"

    def after(self, moment: datetime) -> Any:
        """The first due moment at or after `moment` (aware); None where there is none."""
        return self.trigger.get_next_fire_time(None, moment.astimezone(self.zone))

    def between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """The due moments from `first` to `last`, both included, in order."""
        due = self.after(first)
        while due is not None and due <= last:
            yield due
            due = self.trigger.get_next_fire_time(due, due)


def find_zone(name: str | None) -> ZoneInfo:
    """The time zone of that name, or the machine's. Raises ScheduleError for an unknown one."""
    from tzlocal import get_localzone

    try:
        return get_localzone() if name is None else ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # an unknown name is a KeyError
        raise ScheduleError(f"{name!r} is no time zone; write one like Europe/Berlin, or UTC") from None


def named_weekdays(field: str) -> str:
    """A weekday field of cron's as the names of its days, which mean the same to APScheduler.

    Raises ValueError for anything else.
    """
    days: list[int] = []
    for part in field.split(","):
        match = _PART.fullmatch(part.lower())
        if match is None:
            raise ValueError(f"{part!r} is no weekday")
        first, last, step = match["first"], match["last"], match["step"]
        if first == "*" and last is None:
            span = range(7)
        else:
            begin = weekday_number(first)
            open_end = 6 if step else begin
            span = range(begin, (weekday_number(last, after=begin) if last else open_end) + 1)
        if not span or step == "0":
            raise ValueError(f"{part!r} names no weekday")
        days += span[:: int(step or 1)]
    return ",".join(dict.fromkeys(WEEKDAYS[day % 7] for day in days))


def weekday_number(text: str, after: int = 0) -> int:
    """A weekday's number from its number or name; Sunday is 7 where it ends a range."""
    if text in WEEKDAYS:
        number = WEEKDAYS.index(text)
        return 7 if number == 0 and after else number
    if not text.isdecimal() or int(text) > 7:
        raise ValueError(f"{text!r} is no weekday")
    return int(text)
