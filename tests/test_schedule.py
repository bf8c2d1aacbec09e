"""Cron expressions mean what they mean in cron, in the zone that was asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import ScheduleError
from job.schedule.cron import Schedule

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
days = st.lists(st.integers(1, 28), min_size=1, max_size=3, unique=True)
weekdays = st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True)


def written(numbers: list[int] | None) -> str:
    return "*" if numbers is None else ",".join(map(str, numbers))


@pytest.mark.thorough
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
    ("field", "numbers"),
    [
        ("1-5", {1, 2, 3, 4, 5}),
        ("5-7", {5, 6, 7}),
        ("0,7", {7}),
        ("*/2", {7, 2, 4, 6}),
        ("1-5/2", {1, 3, 5}),
        ("4/2", {4, 6}),
        ("fri", {5}),
    ],
)
def test_weekdays_are_cron_s(field: str, numbers: set[int]) -> None:
    week = Schedule(f"0 0 * * {field}", "UTC").between(MONDAY, MONDAY + timedelta(days=7, seconds=-1))
    assert {moment.isoweekday() for moment in week} == numbers


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
        ("60 2 * * *", "is no cron expression: bad minute"),
        ("0 2 31 2 *", "is no cron expression: bad day-of-month"),
        ("0 2 30 2,2 *", "is no cron expression: bad day-of-month"),
        ("0 2 * * 8", "is no cron expression: bad day-of-week"),
        ("0 2 * * 5-1", "is no cron expression: bad day-of-week"),
        ("0 2 * * 1/0", "is no cron expression: bad day-of-week"),
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
