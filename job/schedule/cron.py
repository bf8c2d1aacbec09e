"""When scheduled runs are due: a cron expression in a time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from tzlocal import get_localzone

from job.errors import ScheduleError


class Schedule:
    """The moments that a cron expression names in a time zone, the machine's own by default.

    The expression is cron's, crontab(5). When the clock changes, a fixed time of day comes once: a time that
    summer time skips comes right after the change, and a time that is repeated comes the first time only.

    Raises ScheduleError for an expression or a zone that cannot be read, or that never comes.
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
        """The first due moment at or after `moment` (aware), in the schedule's zone."""
        return next(self._due_from(moment))

    def between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """The due moments from `first` to `last`, both included, in order."""
        for due in self._due_from(first):
            if due.astimezone(UTC) > last.astimezone(UTC):
                return
            yield due

    def _due_from(self, moment: datetime) -> Iterator[datetime]:
        # CronSim begins with the second after the one it is given, and takes the second pass through a
        # repeated hour for the first. Datetimes of one zone compare by their wall clocks, hence UTC.
        first = moment.astimezone(UTC)
        before = (first - timedelta(microseconds=1)).astimezone(self.zone)
        return (due for due in CronSim(self.cron, before) if due.astimezone(UTC) >= first)


def find_zone(name: str | None) -> ZoneInfo:
    """The time zone of that name, or the machine's. Raises ScheduleError for an unknown one."""
    try:
        return get_localzone() if name is None else ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # an unknown name is a KeyError
        raise ScheduleError(f"{name!r} is no time zone; write one like Europe/Berlin, or UTC") from None
