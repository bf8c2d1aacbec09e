"""What commands print: rich tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import typer

from job.cli.tables import Columns, screen_width, wrapped
from job.log import JOINERS, shown

if TYPE_CHECKING:
    from db.schema import VerdictRow

STYLES: dict[str, dict[str, Any]] = {
    "": {},
    "bold": {"bold": True},
    "green": {"fg": "green"},
    "bold red": {"fg": "red", "bold": True},
}
ALONE = "one model alone: there is nothing to compare it with"
MEASURED = 1000
"""rows of a table that decide how wide its columns are"""


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """A value as indented JSON, moments in ISO form, without characters that a terminal does not show."""
    ascii_only = (sys.stdout.encoding or "utf-8").lower() != "utf-8"  # JSON has escapes of its own
    text = json.dumps(value, indent=2, default=lambda moment: moment.isoformat(), ensure_ascii=ascii_only)
    return shown(text, json.dumps, f"{JOINERS}\n")


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str | None = None,
    spare: Sequence[str] = (),
) -> None:
    """Print a table, numbers to the right, None as nothing; rows are printed as they arrive after the first.

    The first `MEASURED` rows decide how wide the columns are, and which hold numbers. Of a table that is too
    wide, the columns without a value are left out, if there are no more rows; then those in `spare`, one by
    one. A line below names them.
    """
    rows = iter(rows)
    first = list(islice(rows, MEASURED))
    measured = [cells(row) for row in first]
    numeric = [any(isinstance(row[i], int | float) for row in first) for i in range(len(columns))]

    def of(kept: Sequence[int]) -> Columns:
        shorter = [[row[i] for i in kept] for row in measured]
        return Columns([shown(columns[i]) for i in kept], [numeric[i] for i in kept], shorter, screen_width())

    kept = list(range(len(columns)))
    layout = of(kept)
    empty = layout.empty if 0 < len(first) < MEASURED and not layout.fits else []
    kept = [i for i in kept if i not in empty]
    no_room = []
    for least in (columns.index(name) for name in spare):
        if not of(kept).fits and least in kept:
            kept.remove(least)
            no_room.append(columns[least])
    layout = of(kept)
    if title:
        print_text(title, style="bold")
    for line in layout.head():
        print_line(line, style="bold")
    every = chain(layout.measured, ([row[i] for i in kept] for row in map(cells, rows)))
    while group := list(islice(every, layout.at_once)):
        for line in layout.lines(*group):
            print(line)
    if empty:
        print_text(f"no row has a value in: {', '.join(columns[i] for i in empty)}")
    if no_room:
        print_text(f"no room for: {', '.join(no_room)}")


def cells(row: Iterable[object]) -> list[str]:
    """What a table shows of a row's values."""
    return [
        "" if value is None else moment(value) if isinstance(value, datetime) else shown(str(value))
        for value in row
    ]


def print_text(text: str, style: str = "") -> None:
    """Print a text, in lines that fit the screen."""
    width = screen_width()
    for line in wrapped(text, width) if width else [text]:
        print_line(line, style)


def print_line(text: str, style: str = "") -> None:
    """Print one line, however long it is."""
    plain = False if "NO_COLOR" in os.environ else None  # None: by whether stdout is a terminal
    typer.secho(shown(text), color=plain, **STYLES[style])


class Number(float):
    """A float that prints with nine significant digits, which tell every float32 from the next."""

    digits = 9

    def __str__(self) -> str:
        return f"{float(self):.{self.digits}g}"


class Short(Number):
    """A float that prints with seven significant digits."""

    digits = 7


class Gap(Number):
    """A float that prints with two significant digits."""

    digits = 2


def moment(value: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def short(digest: str | None) -> str:
    """The first 12 digits of a digest."""
    return (digest or "")[:12]


def loss(value: float) -> str:
    """A loss, to eight digits after the point: about what float32 holds."""
    return f"{value:.8f}" if abs(value) < 1e6 else f"{value:.7e}"


def verdict_record(verdict: VerdictRow) -> dict[str, Any]:
    """A verdict as JSON has it."""
    names = ("id", "run_id", "kind", "against_run_id", "passed", "first_epoch", "worst", "tolerance")
    more = ("detail", "created_at", "model", "against_model")
    return {name: getattr(verdict, name) for name in (*names, *more)}


def print_verdict(verdict: VerdictRow) -> None:
    """Print one verdict as a sentence, a failed one about a run's bits as several."""
    if verdict.passed:
        print_text(f"{verdict.kind}: passed: {verdict.detail}", style="green")
        return
    # What these say of each model and of the environment has a line of its own.
    bits = verdict.kind in ("drift", "baseline")
    first, *others = verdict.detail.split("; ") if bits else [verdict.detail]
    print_text(f"{verdict.kind}: FAILED: {first}", style="bold red")
    for other in others:
        print_text(other)
