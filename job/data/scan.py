"""Reads the rows of a table one by one: their numbers, and every problem with its line and column."""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from db.history import Float64s
from job.data import housing
from job.data.cells import DATE, LONGEST, is_missing, number, told
from job.data.content import Content
from job.data.layout import Layout, Line, lines_of, records
from job.data.reading import Problem, Reading

MOST_BROKEN = 5


@dataclass(slots=True)
class Column:
    """What the cells of a column hold besides numbers."""

    position: int
    """in a row, from 0"""
    name: str
    missing: int = 0
    first_missing: tuple[int, str] | None = None
    """line and cell"""
    texts: int = 0
    first_text: tuple[int, str] | None = None
    infinite: tuple[int, str] | None = None

    @property
    def place(self) -> str:
        """The column as messages name it, after the line."""
        return f"column {self.position + 1} ({self.name})"


@dataclass(slots=True)
class Scan:
    """The rows of a file, as far as they can be read."""

    columns: list[Column]
    values: Float64s
    """float64 [n, c]; NaN where there is no finite number"""
    broken: list[Problem] = field(default_factory=list)
    """rows that cannot be read, at most MOST_BROKEN of them"""
    odd_rows: int = 0
    """rows with another number of cells than the table"""


def scan(content: Content, layout: Layout, reading: Reading, positions: Sequence[int]) -> Scan:
    """Read the cells at `positions` of every row."""
    columns = [Column(i, str(layout.names[i])) for i in positions]
    found = Scan(columns, np.empty((0, len(columns))))
    numbers = array("d")
    width = len(layout.names)
    short = width - (width > 1 and layout.names[-1] is None)
    try:
        for line, row in rows_of(content, layout):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not any(cells[width:]):
                cells = cells[:width]
            if not short <= len(cells) <= width:
                found.odd_rows += 1
                if len(found.broken) < MOST_BROKEN:
                    found.broken.append(odd_row(line, len(cells), layout))
                continue
            numbers.extend(number_in(cells[each.position], line, each, layout, reading) for each in columns)
            if layout.kind in ("housing", "wrapped") and not found.broken:
                found.broken += housing_problem(line, cells)
    except csv.Error as error:
        found.broken.insert(0, broken_quote(content, layout, error))
    found.values = np.asfortranarray(np.frombuffer(numbers).reshape(-1, len(columns)))
    return found


def housing_problem(line: int, cells: Sequence[str]) -> list[Problem]:
    """A problem for the first value that a row of the housing table cannot have, also in unused columns."""
    values = [number(cell) for cell in cells]
    wrong = housing.problem_with(
        [math.nan if value is None or math.isinf(value) else value for value in values]
    )
    return [] if wrong is None else [own_table(f"line {line}, column {wrong[0] + 1}: {wrong[1]}")]


def rows_of(content: Content, layout: Layout) -> Iterator[Line]:
    """The rows of numbers; a record on two lines is one row, at the line where it ends."""
    rows = records(lines_of(content.text), layout.delimiter)
    rows = ((line, cells) for line, cells in rows if line > layout.before)
    if layout.kind != "wrapped":
        yield from rows
        return
    for line, cells in rows:
        rest = next(rows, (0, []))[1] if len(cells) == housing.WRAPPED[0] else []
        yield line, [*cells, *rest]


def number_in(cell: str, line: int, column: Column, layout: Layout, reading: Reading) -> float:
    """The number in a cell; NaN, and a note in `column`, if there is none."""
    if is_missing(cell):
        column.missing += 1
        column.first_missing = column.first_missing or (line, cell)
        return math.nan
    value = number(cell, layout.decimal, reading.thousands)
    if value is None:
        column.texts += 1
        column.first_text = column.first_text or (line, cell)
        return math.nan
    if not math.isfinite(value):
        column.infinite = column.infinite or (line, cell)
        return math.nan
    return value


def broken_quote(content: Content, layout: Layout, error: csv.Error) -> Problem:
    """Where the file cannot be read as CSV; for a quote that is never closed, where it is opened."""
    reader = csv.reader(
        lines_of(content.text), delimiter=layout.delimiter, strict=True, skipinitialspace=True
    )
    begins = 1
    with suppress(csv.Error):
        for _ in reader:
            begins = reader.line_num + 1
    if reader.line_num > begins:
        what = f"line {begins}: a quote is opened, and not closed up to line {reader.line_num}"
    else:
        what = f"line {begins}: not readable as CSV: {error}"
    return Problem(what, else_do="correct the line")


def own_table(text: str) -> Problem:
    """A problem of a table in the housing format that may be of another kind."""
    return Problem(text, (Reading(header=False),), whose="for a table of your own without a line of names, ")


def odd_row(line: int, cells: int, layout: Layout) -> Problem:
    """A row with too few or too many cells."""
    columns = sum(name is not None for name in layout.names)
    found = cells - sum(name is None for name in layout.names[:cells])
    values = f"{found} value{'s' * (found != 1)}"
    if layout.kind in ("housing", "wrapped"):
        return own_table(f"line {line}: {values}, but the housing table has {columns} columns")
    names = f" named in line {layout.names_line}" if layout.names_line else ""
    return Problem(
        f"line {line}: {values}, but the table has {columns} columns{names}", else_do="correct the line"
    )


def problems_of(found: Scan, layout: Layout, reading: Reading, target: str | None = None) -> list[Problem]:
    """What is wrong with the scanned columns, in the order of the columns; missing values are one problem.

    Without a `target` the last column is the target, and another one is proposed if it cannot be.
    """
    problems = list(found.broken)
    if not len(found.values) and not problems:
        names = f"line {layout.names_line}: names, and no row below them"
        problems.append(Problem(names if layout.names_line else "there is no row of numbers"))
    if found.odd_rows > len(found.broken):
        problems.append(Problem(f"{found.odd_rows:,} lines in all have another number of values"))
    if layout.ambiguous:
        line, cell = layout.ambiguous
        problems.append(
            Problem(
                f"line {line}: the comma in {cell!r} may separate decimals or thousands",
                (Reading(decimal=","), Reading(thousands=",")),
            )
        )
    goal = target or found.columns[-1].name
    other = None if target or reading.features else other_target(found)
    rows = len(found.values)
    for column in found.columns:
        if column.first_text is not None:
            line, cell = column.first_text
            words, options = told(cell)
            options = tuple(each for each in options if is_new(each, reading))
            if not options and len(layout.names) == 1 and not DATE.fullmatch(cell):
                options = other_delimiter(cell)
            of = f", and so in {column.texts:,} of {rows:,} rows" if column.texts > 1 else ""
            what = f"line {line}, {column.place}: {words}{of}"
            few = 10 * column.texts <= rows
            problems.append(Problem(what, options) if options else unusable(column, what, goal, other, few))
        if column.infinite is not None:
            line, cell = column.infinite
            what = f"line {line}, {column.place}: {cell[:LONGEST]!r} is not a finite number"
            problems.append(unusable(column, what, goal, other, few=True))
    empty = [column for column in found.columns if 1 < column.missing == rows]
    problems += [unusable(each, f"{each.place}: no row has a value", goal, other) for each in empty]
    lacking = [column for column in found.columns if column.missing and column not in empty]
    if lacking and reading.missing is None:
        problems.append(missing_problem(found, lacking, goal))
    return problems


def unusable(column: Column, what: str, goal: str, other: str | None, few: bool = False) -> Problem:
    """That a column cannot be used. If it is the target `goal`, `other` may be predicted in its place.

    If `few` of its cells are wrong, the file is better corrected.
    """
    leaving_out = (Reading(drop=(column.name,)),)
    if column.name != goal:
        return Problem(what, leaving_out, else_do="correct the file" if few else "")
    if other is None or few:
        return Problem(what, else_do="correct the file, or choose another --target")
    instead = f"to predict {other} instead, "
    return Problem(what, leaving_out, else_do="correct the file", whose=instead, target=other)


def other_target(found: Scan) -> str | None:
    """The last column of numbers before the last column; None if it would have no feature."""
    usable = [
        column.name
        for column, values in zip(found.columns[:-1], found.values.T, strict=False)
        if len(values) and values.min() < values.max()  # neither is true of NaN
    ]
    return usable[-1] if len(usable) > 1 else None


def other_delimiter(cell: str) -> tuple[Reading, ...]:
    """The option that names the only sign in a cell that may separate columns, if there is one."""
    signs = set(re.sub(r"[\w\s.+\"-]", "", cell))
    return (Reading(delimiter=signs.pop()),) if len(signs) == 1 else ()


def is_new(option: Reading, reading: Reading) -> bool:
    """Whether an option for numbers is neither given nor against those that are."""
    if option.thousands is None:
        return option.decimal != reading.decimal
    return option.thousands not in (option.decimal or reading.decimal or ".", reading.thousands)


def missing_problem(found: Scan, lacking: Sequence[Column], target: str) -> Problem:
    """How many values are missing in which columns, and where the first is."""
    first = min(lacking, key=lambda column: column.first_missing or (0, ""))
    assert first.first_missing is not None
    line, cell = first.first_missing
    total = sum(column.missing for column in lacking)
    by = ", ".join(f"{column.name} {column.missing:,}" for column in lacking)
    ways = [Reading(missing="drop")]
    if all(column.name != target for column in lacking):
        ways.append(Reading(missing="mean"))
        values = found.values[:, [found.columns.index(column) for column in lacking]]
        if np.isnan(values).any(1).mean() > 0.5:  # few rows would be left
            ways.reverse()
    written = f"written {cell!r}" if cell else "empty"
    where = f"line {line}, {first.place}"
    text = (
        f"{where}: the value is missing ({written})"
        if total == 1
        else f"{total:,} values are missing ({by}); the first, in {where}, is {written}"
    )
    return Problem(text, tuple(ways))
