"""Reads a table of numbers from a file; errors name the place in one line."""

from __future__ import annotations

import io
from array import array
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from db.history import Float64s
from job.data.cells import described, is_number
from job.data.content import Content, read_content
from job.data.layout import Layout, find_layout
from job.data.reading import DEFAULT, Problem, Reading
from job.data.scan import problems_of, rows_of, scan
from job.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOR_PANDAS = 5_000_000
"""bytes from which on pandas reads a table: its import takes as long as reading that many without it"""
MOST_VALUES = 200_000_000
"""values of the largest table: 1.6 GB as double"""
CHUNK = 1 << 18
"""values that pandas reads at once"""


@dataclass(frozen=True, eq=False)
class Table:
    """The chosen columns of a data file: c columns, n rows."""

    path: Path
    sha256: str
    """of the file's bytes"""
    columns: tuple[str, ...]
    values: Float64s
    """float64 [n, c], each column contiguous; NaN where a value is missing and `reading.missing` is set"""
    layout: Layout
    reading: Reading = DEFAULT

    @cached_property
    def lines(self) -> Sequence[int]:
        """The line of the file in which each row ends; the file is read again, as only messages need it."""
        rows = rows_of(read_content(self.path), self.layout)
        return array("q", (line for line, cells in rows if any(cell.strip() for cell in cells)))

    def place(self, column: str, row: int | None = None) -> str:
        """A column, and a row, as messages name them."""
        line = "" if row is None else f"line {self.lines[row]}, "
        return f"{line}column {self.layout.names.index(column) + 1} ({column})"


def read_table(path: Path, reading: Reading = DEFAULT, target: str | None = None) -> Table:
    """The table in a file of numbers: the features and the target, by default all columns.

    The layout is found in the file: columns between commas, semicolons, tabs, bars or white space, decimal
    points or commas, a line of names, an index, titles and comments before it; or the housing table's, which
    has no names. The file may be packed by gzip. Rows without any value are skipped.

    Raises DataError, naming file, line and column, for what cannot be read.
    """
    content = read_content(path)
    layout, positions, problems = lay_out(content, reading, target)
    refuse(path, problems)
    values = None
    if len(content.text) >= FOR_PANDAS and plain(content, layout, reading, positions):
        values = read_by_pandas(content, layout, positions)
    if values is None:
        found = scan(content, layout, reading, positions)
        refuse(path, problems_of(found, layout, reading, target))
        values = found.values
    names = tuple(str(layout.names[i]) for i in positions)
    return Table(path, content.sha256, names, values, layout, reading)


def lay_out(
    content: Content, reading: Reading, target: str | None
) -> tuple[Layout, list[int], list[Problem]]:
    """The layout of a file, the positions of features and target, and what is wrong with names and choice.

    Raises DataError for a file that has no columns, or too many values.
    """
    layout = with_positions(find_layout(content.text, reading), reading)
    if not layout.names:
        raise DataError(f"{content.path}: line 1: nothing but empty columns")
    lines = content.text.count(b"\n") + 1
    if (values := lines * len(layout.names)) > MOST_VALUES:
        raise DataError(
            f"{content.path}: {lines:,} lines of {len(layout.names):,} columns are {values:,} values; the "
            f"limit is {MOST_VALUES:,}"
        )
    positions, wrong = chosen(layout, reading, target)
    return layout, positions, [*problems_with_names(layout, reading, target), *wrong]


def with_positions(layout: Layout, reading: Reading) -> Layout:
    """The layout with the columns that `--drop` names by position, as column_5, called so."""
    wanted = {*reading.drop} - {*layout.names}
    positions = {i: f"column_{i + 1}" for i in range(len(layout.names)) if f"column_{i + 1}" in wanted}
    names = (name if name is None else positions.get(i, name) for i, name in enumerate(layout.names))
    return replace(layout, names=tuple(names))


def refuse(path: Path, problems: Iterable[Problem]) -> None:
    """Raise DataError for the first problem, if there is one."""
    for problem in problems:
        raise DataError(f"{path}: {problem}")


def problems_with_names(layout: Layout, reading: Reading, target: str | None = None) -> list[Problem]:
    """What is wrong with the names of the columns that are not left out."""
    line, names = layout.names_line, layout.names
    if layout.kind == "unnamed" and reading.header:
        last = sum(name is not None for name in names)
        return [
            Problem(
                f"line {layout.before + 1}: the columns have no names",
                (Reading(header=False),),
                whose=f"to call them column_1 to column_{last}, ",
            )
        ]
    problems = []
    unused = {None, *reading.drop} | ({*names} - {*reading.features, target} if reading.features else set())
    for column, name in enumerate(names, 1):
        if name is None or name in unused:
            continue
        where = f"line {line}, column {column}"
        if not name:
            what = f"{where}: the column has no name"
            problems.append(Problem(what, (dropping([column]),), else_do="name it in the file"))
        elif hidden := [character for character in name if not character.isprintable()]:
            what = f"{where}: {name!r} has {described(hidden[0])}, which cannot be seen"
            problems.append(Problem(what, (dropping([column]),), else_do="rename the column"))
        elif name == "bias":
            problems.append(
                Problem(
                    f"{where}: 'bias' is the name of the model's own parameter",
                    (Reading(drop=(name,)),),
                    else_do="rename the column",
                )
            )
        elif is_number(name):
            problems.append(
                Problem(
                    f"{where}: {name!r} is a number, but this line must name the columns",
                    else_do="rename the column, or use --no-header if the line is a row of the table",
                )
            )
    counted = Counter(name for name in names if name and name not in unused)
    for doubled in (name for name, count in counted.items() if count > 1):
        problems.append(problem_with_doubled(doubled, layout))
    return problems


def problem_with_doubled(doubled: str, layout: Layout) -> Problem:
    """Several columns with one name; any of them may be kept, first the one that is the last of the table."""
    columns = [i for i, name in enumerate(layout.names, 1) if name == doubled]
    first, last = columns[0], columns[-1]
    kept = (last, first) if last == len(layout.names) else (first, last)
    *before, end = map(str, columns)
    return Problem(
        f"line {layout.names_line}, columns {', '.join(before)} and {end}: "
        f"{'both' if len(columns) == 2 else 'all'} are named {doubled!r}",
        tuple(dropping(i for i in columns if i != one) for one in kept),
        else_do="rename one of them in the file" if len(columns) == 2 else "rename them in the file",
        whose="to keep one of them, ",
    )


def dropping(positions: Iterable[int]) -> Reading:
    """The option that leaves out the columns at these positions, from 1."""
    return Reading(drop=tuple(f"column_{i}" for i in positions))


def chosen(layout: Layout, reading: Reading, target: str | None) -> tuple[list[int], list[Problem]]:
    """The positions of features and target in a row, in file order, and what is wrong with the choice."""
    names = [name for name in layout.names if name is not None]
    problems = []
    for option, wanted in (("--features", reading.features), ("--drop", reading.drop)):
        for name in wanted:
            if name not in names:
                problems.append(
                    Problem(f"{option}: there is no column {name!r}; the columns are {', '.join(names)}")
                )
    left = [name for name in names if name not in reading.drop]
    if not left:
        return [], [*problems, Problem("--drop leaves no column")]
    if target is None:
        target = left[-1]
    elif target in reading.drop:
        problems.append(Problem(f"the target {target!r} is in --drop"))
    elif target not in names:
        problems.append(Problem(f"there is no column {target!r}; the columns are {', '.join(names)}"))
    if target in reading.features:
        problems.append(
            Problem(f"{target!r} is the target, and in --features", else_do="name another by --target")
        )
    used = {*reading.features, target} if reading.features else {*left}
    return [i for i, name in enumerate(layout.names) if name in used], problems


def plain(content: Content, layout: Layout, reading: Reading, positions: Sequence[int]) -> bool:
    """Whether pandas would refuse whatever `scan` refuses.

    It takes the first row's width for the table's, and rows that are too short if their last cell is not
    asked for.
    """
    _, cells = next(rows_of(content, layout), (0, []))
    last = max(i for i, name in enumerate(layout.names) if name is not None)
    return (
        layout.kind in ("named", "unnamed")
        and not (reading.thousands or layout.ambiguous)
        and (len(cells), positions[-1]) == (len(layout.names), last)
    )


def read_by_pandas(content: Content, layout: Layout, positions: Sequence[int]) -> Float64s | None:
    """float64 [n, c], read by pandas; None unless every chosen cell of every row is a finite number.

    Then `scan`, which is slower, reads the file and says where.
    """
    import pandas as pd  # takes as long to import as `job train` takes to read a usual table

    file = io.BytesIO(content.text)
    for _ in range(layout.before):
        file.readline()
    try:
        chunks = pd.read_csv(
            file,
            sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
            decimal=layout.decimal,
            header=None,
            index_col=False,
            # With `usecols`, rows that are too long would pass.
            dtype=dict.fromkeys(range(len(layout.names)), object) | dict.fromkeys(positions, np.float64),
            na_filter=False,
            skipinitialspace=True,
            chunksize=max(CHUNK // len(layout.names), 1),
        )
        with chunks:
            parts = [chunk[list(positions)].to_numpy() for chunk in chunks]
    except (ValueError, OverflowError):  # pandas' own errors are ValueErrors
        return None
    values = np.empty((sum(map(len, parts)), len(positions)), order="F")
    start = 0
    for part in parts:
        values[start : start + len(part)] = part
        start += len(part)
    return values if np.isfinite(values).all() else None
