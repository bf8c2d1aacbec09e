"""What a table holds, and all that keeps it from being trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from job.data.cells import DATE
from job.data.content import Content, read_content
from job.data.dataset import Dataset, doubts, try_to_split
from job.data.layout import Layout
from job.data.reading import Problem, Reading, settled
from job.data.scan import Scan, problems_of, scan
from job.data.table import Table, lay_out
from job.errors import DataError

MOST_ROUNDS = 6
"""how often options that settle problems are tried; each may bring others to light"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a column of a file holds."""

    name: str
    type: str
    """`number`, `whole number`, `date`, `text` or `empty`"""
    use: str
    """`feature`, `target` or `left out`"""
    minimum: float | None
    """of its numbers, as `maximum`; None if it has none"""
    maximum: float | None
    missing: int
    constant: bool
    """whether all of its numbers are the same"""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check."""

    path: Path
    sha256: str
    layout: Layout
    rows: int
    columns: list[Facts]
    problems: list[Problem]
    """all of them"""
    doubts: list[Problem]
    """warnings; none if the table cannot be trained on"""
    reading: Reading
    """the options with those added that settle the problems"""
    target: str | None
    """the column to predict; None: the last"""
    dataset: Dataset | None
    """what these options give; None if problems are left that no option settles"""


def check(path: Path, reading: Reading, target: str | None = None) -> Check:
    """Read a table with the options, and again with those that settle its problems, until none is left.

    The columns are described as the last of these readings has them. Raises DataError for a file that holds
    no table, or too large a one.
    """
    content = read_content(path)
    problems: list[Problem] = []
    for _ in range(MOST_ROUNDS):
        found = look(content, reading, target)
        new = [problem for problem in found.problems if problem not in problems]
        problems += new
        target = target or next((problem.target for problem in new if problem.target), None)
        try:
            after = settled(reading, new)
        except DataError as error:  # too many columns to name
            problems.append(Problem(str(error), else_do="leave columns out of the file"))
            found = replace(found, dataset=None)
            break
        if after == reading:
            break
        reading = after
    doubtful = [] if found.dataset is None else list(doubts(found.dataset))
    return replace(found, problems=problems, doubts=doubtful, reading=reading, target=target)


def look(content: Content, reading: Reading, target: str | None) -> Check:
    """Check a table with these options alone; problems of the split are found only if there is no other."""
    layout, positions, problems = lay_out(content, reading, target)
    every = [i for i, name in enumerate(layout.names) if name is not None]
    found = scan(content, layout, reading, every)
    wanted = Scan(
        [column for column in found.columns if column.position in positions],
        found.values[:, [every.index(i) for i in positions]],
        found.broken,
        found.odd_rows,
    )
    if positions:
        problems += problems_of(wanted, layout, reading, target)
    dataset = None
    names = tuple(column.name for column in wanted.columns)
    if not problems:
        table = Table(content.path, content.sha256, names, wanted.values, layout, reading)
        dataset, problems = try_to_split(table, target)
    uses = dict.fromkeys(names if dataset is None else dataset.features, "feature")
    uses |= dict.fromkeys([target or name for name in names[-1:]], "target")
    columns, rows = facts(found, uses), len(found.values)
    return Check(content.path, content.sha256, layout, rows, columns, problems, [], reading, target, dataset)


def facts(found: Scan, uses: Mapping[str, str]) -> list[Facts]:
    """What each column holds. `uses` names the features and the target."""
    described = []
    for column, values in zip(found.columns, found.values.T, strict=True):
        numbers = values[np.isfinite(values)]
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        if column.first_text is not None:
            kind = "date" if DATE.fullmatch(column.first_text[1]) else "text"
        elif not len(numbers):
            kind = "empty"
        else:
            kind = "whole number" if (numbers == np.floor(numbers)).all() else "number"
        constant = low is not None and low == high and column.first_text is None
        described.append(
            Facts(column.name, kind, uses.get(column.name, "left out"), low, high, column.missing, constant)
        )
    return described
