"""Cron expressions mean what cron makes of them, in the zone that was asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import ScheduleError
from job.schedule.cron import Schedule, named_weekdays

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
days = st.lists(st.integers(1, 28), min_size=1, max_size=3, unique=True)
weekdays = st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True)


def written(numbers: list[int] | None) -> str:
    return "*" if numbers is None else ",".join(map(str, numbers))


@given(st.none() | days, st.none() | weekdays, st.integers(0, 23), st.integers(0, 59))
def test_nights_are_those_that_crontab_5_describes(
    day: list[int] | None, weekday: list[int] | None, hour: int, minute: int
) -> None:
    def due(moment: datetime) -> bool:
        # "If both fields are restricted, the command will be run when either field matches."
        by_day = day is None or moment.day in day
        by_weekday = weekday is None or moment.isoweekday() % 7 in [number % 7 for number in weekday]
        return by_day or by_weekday if day and weekday else by_day and by_weekday

    schedule = Schedule(f"{minute} {hour} {written(day)} * {written(weekday)}", "UTC")
    begin = MONDAY.replace(hour=hour, minute=minute)
    expected = [moment for n in range(40) if due(moment := begin + timedelta(days=n))]
    last = MONDAY + timedelta(days=40, microseconds=-1)
    assert list(schedule.between(MONDAY, last)) == expected


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("*", "sun,mon,tue,wed,thu,fri,sat"),
        ("1-5", "mon,tue,wed,thu,fri"),
        ("FRI-SUN", "fri,sat,sun"),
        ("5-7", "fri,sat,sun"),
        ("0,7", "sun"),
        ("*/2", "sun,tue,thu,sat"),
        ("1-5/2", "mon,wed,fri"),
        ("4/2", "thu,sat"),
    ],
)
def test_weekdays_are_cron_s(field: str, names: str) -> None:
    assert named_weekdays(field) == names


def test_a_night_is_due_by_the_clock_of_its_zone() -> None:
    schedule = Schedule("0  2 * * *", "Europe/Berlin")
    assert str(schedule) == "0 2 * * * Europe/Berlin"
    winter, summer = (
        list(schedule.between(d, d + timedelta(hours=23))) for d in (MONDAY, MONDAY.replace(month=7))
    )
    assert [moment.astimezone(UTC).hour for moment in (*winter, *summer)] == [1, 0]


@pytest.mark.parametrize(
    ("cron", "complaint"),
    [
        ("0 2 * *", "it has 4 fields and needs five"),
        ("60 2 * * *", "higher than the maximum value"),
        ("0 2 31 2 *", "names a day that never comes"),
        ("0 2 * * 8", "'8' is no weekday"),
        ("0 2 * * 5-1", "'5-1' names no weekday"),
        ("0 2 * * 1/0", "'1/0' names no weekday"),
        ("at two", "it has 2 fields"),
    ],
)
def test_what_is_no_cron_expression_is_refused(cron: str, complaint: str) -> None:
    with pytest.raises(ScheduleError, match=complaint):
        Schedule(cron, "UTC")


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ScheduleError, match="is no time zone; write one like Europe/Berlin"):
        Schedule("0 2 * * *", zone)
