"""`nights_page`: a self-contained HTML page about all scheduled runs, with a square for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from db.query import named_query, run_query
from db.scheduled_runs import ScheduledRun
from db.schema import RunRow
from db.store import Store
from job.environment import Change, environment_changes
from job.html import rendered
from job.schedule.glance import completed

MARKS = {
    "passed": ("", "passed"),
    "drifted": ("≠", "not the bits of the baseline, or, without one, of the night before"),
    "failed": ("!", "failed"),
    "missed": ("?", "missed"),
    "skipped": ("-", "skipped or stopped"),
    "due": ("", "due or running"),
}
"""by the result of a night: the mark in its square, and what the legend says"""


@dataclass(slots=True)
class Bits:
    """What nights with the same digests have in common."""

    digests: dict[str, str | None]
    """by model"""
    colour: int
    """a number of its own; the template has eight colours"""
    nights: list[ScheduledRun] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Edge:
    """A run whose bits are not those of the completed night before."""

    run: RunRow
    before: RunRow
    night: ScheduledRun
    changes: list[Change]
    """between the environments of the two runs"""


@dataclass(frozen=True, slots=True)
class Square:
    """A scheduled run on the page."""

    night: ScheduledRun
    bits: Bits | None
    edge: bool
    link: str | None
    """the run's report, if there is one beside the page"""

    @property
    def title(self) -> str:
        """What a pointer and a screen reader find."""
        run, row = self.night.run, self.night.row
        said = [f"{row.due_at:%Y-%m-%d %H:%M}Z", MARKS[self.night.result][1]]
        said += [f"run {run.id}"] if run else []
        said += [self.night.why] if self.night.why else []
        return ", ".join(said)


def nights_page(store: Store, nights: Sequence[ScheduledRun], glance: str, folder: Path) -> str:
    """The page about `nights`, the latest first, under a line `glance` about them.

    Runs whose `report-RUN.html` is in `folder` are links.
    """
    edges = [
        Edge(run, before, night, environment_changes(before.environment, run.environment))
        for night, run, before in completed(nights)
        if before is not None and before.digests != run.digests
    ]
    changed = {edge.night.row.id for edge in edges}
    known: dict[tuple[tuple[str, str | None], ...], Bits] = {}
    squares = []
    for night in reversed(nights):
        run, bits = night.run, None
        if run is not None and run.status == "completed":
            bits = known.setdefault(tuple(run.digests.items()), Bits(run.digests, len(known)))
            bits.nights.append(night)
        report = f"report-{run.id}.html" if run else ""
        link = report if report and (folder / report).exists() else None
        squares.append(Square(night, bits, night.row.id in changed, link))
    accepted = run_query(store.url, named_query("baselines").sql, {}, limit=None)
    rows = [dict(zip(accepted.columns, row, strict=True)) for row in accepted.rows]
    return rendered(
        "nights.html.j2",
        glance=glance,
        months=list(months(squares)),
        marks=MARKS,
        bits=list(known.values()),
        models=list(dict.fromkeys(model for each in known.values() for model in each.digests)),
        edges=edges[::-1],
        others=[night for night in nights if night.result in ("failed", "missed", "skipped")],
        baselines=list({row["baseline"]: row for row in rows}.values())[::-1],
    )


def months(squares: Sequence[Square]) -> Iterator[tuple[str, list[list[Square]]]]:
    """Each month as `2026-03`, with the squares of its 31 days; days of UTC."""
    for month, found in groupby(squares, lambda each: f"{each.night.row.due_at:%Y-%m}"):
        days: list[list[Square]] = [[] for _ in range(31)]
        for each in found:
            days[each.night.row.due_at.day - 1].append(each)
        yield month, days
