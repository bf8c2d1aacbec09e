"""What `job nights` writes besides its table: the page, metrics, JUnit's XML, GitHub's summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import exposition
from prometheus_client.openmetrics import exposition as openmetrics

from db.scheduled_runs import ScheduledRun
from db.store import Store
from job.cli.output import print_line
from job.output_files import write
from job.schedule.formats import junit, markdown, metrics
from job.schedule.glance import glance
from job.schedule.page import nights_page


def write_files(
    store: Store,
    every: Sequence[ScheduledRun],
    listed: Sequence[ScheduledRun],
    report: Path | None,
    metrics_file: Path | None,
    junit_file: Path | None,
    summary: str,
) -> None:
    """Write the files that are named, and print their names. `summary` is added to.

    The metrics and the page are about `every` scheduled run, the others about those `listed`.
    """
    line = glance(store, every) if report or summary else ""
    if metrics_file:
        save(metrics_file, exposition.generate_latest(metrics(store, every)))
    if report:
        save(report, nights_page(store, every, line, report.parent).encode())
    if junit_file:
        save(junit_file, junit(store, listed))
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown(listed, line))
        print_line(summary)


def save(path: Path, content: bytes) -> None:
    """Write a file and print its name."""
    write(path, content)
    print_line(str(path))


def print_openmetrics(store: Store, every: Sequence[ScheduledRun]) -> None:
    """Print the metrics as OpenMetrics."""
    text: bytes = openmetrics.generate_latest(metrics(store, every))  # type: ignore[no-untyped-call]
    print(text.decode(), end="")
