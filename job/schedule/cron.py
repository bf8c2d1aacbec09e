"""When scheduled runs are due: a cron expression in a time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from tzlocal import get_localzone

from job.errors import ScheduleError


class Schedule:
    """The due times of a cron expression, crontab(5), in a time zone, by default the machine's.

    When the clock changes, a fixed time of day is due once: a skipped time right after the change, a repeated
    time at its first occurrence.

    Raises ScheduleError if the expression or the zone is invalid, or no such day exists.
    """

    def __init__(self, cron: str, timezone: str | None = None) -> None:
        self.cron = " ".join(cron.split())
        self.zone = find_zone(timezone)
        if (count := len(self.cron.split())) != 5:
            raise ScheduleError(
                f"{cron!r} is no cron expression: it has {count} fields and needs five, "
                'minute, hour, day, month and weekday, like "0 2 * * *"'
            )
        try:
            self.after(datetime.now(UTC))
        except CronSimError as error:
            raise ScheduleError(f"{cron!r} is no cron expression: {str(error).lower()}") from None
        except StopIteration:
            raise ScheduleError(f"{cron!r} names a day that never comes") from None

    def __str__(self) -> str:
        return f"{self.cron} {self.zone}"

    def after(self, moment: datetime) -> datetime:
        """The first due time at or after `moment` (aware), in the schedule's zone."""
        return next(self._due_from(moment))

    def between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """The due times from `first` to `last`, both included, in order."""
        for due in self._due_from(first):
            if due.astimezone(UTC) > last.astimezone(UTC):
                return
            yield due

    def _due_from(self, moment: datetime) -> Iterator[datetime]:
        # CronSim starts one second after its argument, and treats the second pass through a repeated hour as
        # the first. Datetimes of the same zone are compared by wall clock, hence UTC.
        first = moment.astimezone(UTC)
        before = (first - timedelta(microseconds=1)).astimezone(self.zone)
        return (due for due in CronSim(self.cron, before) if due.astimezone(UTC) >= first)


def find_zone(name: str | None) -> ZoneInfo:
    """The time zone of that name, or the machine's. Raises ScheduleError for an unknown one."""
    try:
        return get_localzone() if name is None else ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # an unknown name is a KeyError
        raise ScheduleError(f"{name!r} is no time zone; write one like Europe/Berlin, or UTC") from None
