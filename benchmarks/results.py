"""Measures in turns, takes quartiles of the rounds, and writes the table that compares them with goals."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyperf

T = TypeVar("T")
PEERS = "## What other trackers need for the same history"
PACKAGES = ("numpy", "paddlepaddle", "sqlalchemy", "psycopg", "visualdl", "typer", "dask")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: ours and theirs, round by round."""

    what: str
    against: str
    ours: Sequence[float]
    theirs: Sequence[float]
    unit: str
    goal: float = math.inf
    """the most that the ratio ours / theirs may be"""
    difference: bool = False
    """the goal applies to ours - theirs instead, in the unit"""
    limit: float = math.inf
    """the most that ours may be, in the unit"""
    reason: str = "The reason is not known."
    """why the goal is missed, if it is"""

    @property
    def compared(self) -> list[float]:
        """The ratio, or the difference, of each round."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [ours - theirs if self.difference else ours / theirs for ours, theirs in pairs]

    @property
    def result(self) -> str:
        """`met` if the upper quartile is within the goal, `not met` if the lower one is beyond it."""
        if math.isinf(self.goal):
            return ""
        bounds = [(quartiles(self.compared), self.goal), (quartiles(self.ours), self.limit)]
        if all(upper <= most for (_, _, upper), most in bounds):
            return "met"
        return "not met" if any(lower > most for (lower, _, _), most in bounds) else "within the spread"

    def row(self) -> str:
        """The line as Markdown."""
        kind = f" {self.unit} more" if self.difference else ""
        goal = "" if math.isinf(self.goal) else f"{number(self.goal)}{kind}"
        goal += "" if math.isinf(self.limit) else f", and {self.limit:g} {self.unit}"
        ours, theirs = (spread(values, f" {self.unit}") for values in (self.ours, self.theirs))
        return (
            f"| {self.what} | {ours} | {self.against} | {theirs} | {spread(self.compared, kind)} | {goal} | "
            f"{len(self.ours)} | {self.result} |"
        )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, interpolated between the values."""
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75))
    return float(lower), float(median), float(upper)


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float], unit: str) -> str:
    """The median in bold with its unit, and the quartiles."""
    lower, median, upper = map(number, quartiles(values))
    return f"**{median}{unit}** ({lower} to {upper})"


def in_turns(rounds: int, *measures: Callable[[], T]) -> list[list[T]]:
    """The results of each measure, taken in turns in each round: a slow moment affects all equally."""
    found = [[measure() for measure in measures] for _ in range(rounds)]
    return [list(values) for values in zip(*found, strict=True)]


def write(figures: Sequence[Figure], path: Path, postgresql: str) -> None:
    """Write the table and what it was measured on; `postgresql` is the server's version."""
    machine = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    names = ("cpu_model_name", "cpu_count", "platform", "python_version")
    facts = [f"{name.replace('_', ' ')}: {machine[name]}" for name in names if name in machine]
    facts += [f"SQLite {sqlite3.sqlite_version}", f"PostgreSQL {postgresql}"]
    facts += [f"{name} {version(name)}" for name in PACKAGES]
    lines = [
        "# What recording costs",
        "",
        f"Measured by `make bench` on {datetime.now(UTC):%Y-%m-%d}. In each round the two sides of a line "
        "take turns; if they share a process, they alternate block by block. Each cell has the **median** of "
        "the rounds and the quartiles; a ratio compares values of one round. A goal is met if the upper "
        "quartile meets it, and not met if the lower quartile exceeds it. `benchmarks/` has the programs.",
        "",
        *(f"* {fact}" for fact in facts),
        "",
        "| what | measured | against | measured | ratio or difference | goal, at most | rounds | result |",
        "|---|---|---|---|---|---|---|---|",
        *(figure.row() for figure in figures),
    ]
    if missed := [figure for figure in figures if figure.result == "not met"]:
        lines += ["", "Reasons for the goals that are not met:", ""]
        lines += [f"* {figure.what}, against {figure.against}: {figure.reason}" for figure in missed]
    section = "".join(path.read_text().partition(PEERS)[1:]) if path.exists() else ""
    path.write_text("\n".join(lines) + "\n" + (f"\n{section}" if section else ""))


def write_peers(table: Iterable[str], path: Path) -> None:
    """Write the table of other trackers after the first one, in place of an older one."""
    before = path.read_text().partition(PEERS)[0].rstrip("\n")
    lines = [
        PEERS,
        "",
        f"Measured by `make bench` on {datetime.now(UTC):%Y-%m-%d}. Each tracker in turn records the 32 "
        "values of each epoch of a default run (both models, 10,000 epochs), in a separate process and "
        "environment. Time ends when everything is on the disk, and does not include imports or the creation "
        "of an empty run or store. Size is the added size on the disk. Then the train loss of one model is "
        "read back: `all` means every value, with the bits of its float32. Each cell has the **median** of "
        "the rounds and the quartiles. If the first round takes more than two minutes, there is no other.",
        "",
        *table,
    ]
    path.write_text("\n".join([before, "", *lines]) + "\n")
