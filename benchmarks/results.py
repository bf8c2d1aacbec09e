"""Two things measured in turn, their medians, and the table that says how they compare."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pyperf

Measure = Callable[[], float]
PACKAGES = ("numpy", "paddlepaddle", "sqlalchemy", "psycopg", "visualdl", "typer")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a ratio, or a difference, of two medians."""

    what: str
    against: str
    ours: float
    theirs: float
    unit: str
    goal: float
    difference: bool = False
    limit: float | None = None
    """what `ours` itself may be at most, in its unit"""

    @property
    def value(self) -> float:
        """What the goal is about."""
        return self.ours - self.theirs if self.difference else self.ours / self.theirs

    @property
    def met(self) -> bool:
        """Whether the goal is met."""
        return self.value <= self.goal and (self.limit is None or self.ours <= self.limit)

    def row(self) -> str:
        """The line as Markdown."""
        kind = f" {self.unit} more" if self.difference else ""
        limit = "" if self.limit is None else f", and {self.limit:g} {self.unit}"
        measured = f"{number(self.value)}{kind}"
        return (
            f"| {self.what} | {self.against} | {number(self.ours)} {self.unit} | "
            f"{number(self.theirs)} {self.unit} | **{measured}** | {number(self.goal)}{kind}{limit} | "
            f"{'yes' if self.met else 'no'} |"
        )


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def medians(rounds: int, *measures: Measure) -> list[float]:
    """The median of each measure, all of them taken in turn, so that a slow moment hits all alike."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(found, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in found]


def write(figures: Iterable[Figure], path: Path) -> None:
    """Write the table, with what it was measured on."""
    machine = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    names = ("cpu_model_name", "cpu_count", "platform", "python_version")
    facts = [f"{name.replace('_', ' ')}: {machine[name]}" for name in names if name in machine]
    facts += [f"{name} {version(name)}" for name in PACKAGES]
    lines = [
        "# What recording costs",
        "",
        f"By `make bench` on {datetime.now(UTC):%Y-%m-%d}. Medians of rounds in which the two things of a "
        "line take turns; in process the two alternate block by block, and the round of the median ratio "
        "counts. See `benchmarks/` for what each is.",
        "",
        *(f"* {fact}" for fact in facts),
        "",
        "| what | against | measured | against | ratio | goal, at most | met |",
        "|---|---|---|---|---|---|---|",
        *(figure.row() for figure in figures),
    ]
    path.write_text("\n".join(lines) + "\n")
