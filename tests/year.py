"""Simulates a year of scheduled runs, whose bits change three times, and writes the page about them.

    python -m tests.year --url sqlite:////tmp/year.db --page /tmp/year.html

The trainings are real, of 200 epochs; the clock is not: each night is dated a day after the one before. The
bits change with the version of a package that the model pretends to use. Two nights are missed. The first run
is the baseline. The first change is accepted after nine nights; the second ends when the package is taken
back.
"""

from __future__ import annotations

from job.pins import pin

pin()

import argparse  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from dataclasses import replace  # noqa: E402
from datetime import UTC, datetime, timedelta  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402
from unittest.mock import patch  # noqa: E402

from sqlalchemy import update  # noqa: E402

from db import scheduled_runs  # noqa: E402
from db.schema import BaselineRow, RunRow, ScheduledRunRow, VerdictRow  # noqa: E402
from db.store import Store  # noqa: E402
from job.data.dataset import Dataset, load  # noqa: E402
from job.environment import environment as recorded  # noqa: E402
from job.schedule.glance import glance  # noqa: E402
from job.schedule.page import nights_page  # noqa: E402
from job.training import Settings, start, train_and_judge  # noqa: E402
from job.verdicts.baseline import set_baseline  # noqa: E402

FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)
VERSIONS = {0: "1.0", 90: "1.1", 200: "2.0", 230: "1.1"}
"""of the package, from that night on"""
ACCEPTED = {0: "the first night", 99: "rounding 1.1 sums in another order; the gap is below 1e-6"}
MISSED = (45, 46)
MODEL = """
import os
from job.models.python import PythonModel

class Mine(PythonModel):
    def __init__(self, dataset, learning_rate, seed, state):
        changed = {"1.0": 0, "1.1": 2e-7, "2.0": 4e-7}[os.environ["ROUNDING"]]
        super().__init__(dataset, learning_rate * (1 + changed), seed, state)
"""


def version(night: int) -> str:
    """The package's version in a night."""
    return VERSIONS[max(first for first in VERSIONS if first <= night)]


def simulate(
    store: Store, dataset: Dataset, model: Path, nights: int, epochs: int = 200, first: int = 0
) -> None:
    """Train the nights from `first` on, up to so many; `model` is a file that this writes."""
    model.write_text(MODEL)

    def environment(*arguments: Any) -> dict[str, Any]:
        found = recorded(*arguments)
        return {**found, "packages": {**found["packages"], "rounding": os.environ["ROUNDING"]}}

    with patch("job.training.environment", environment):
        for number in range(first, nights):
            train_night(store, Settings(dataset, epochs, models=("paddle", f"{model}:Mine")), number)


def train_night(store: Store, settings: Settings, number: int) -> None:
    """One night: missed, or trained, judged, perhaps accepted, and dated."""
    due = FIRST + timedelta(days=number)
    row = scheduled_runs.add_unscheduled(store, ScheduledRunRow(due_at=due, status="due"))
    if number in MISSED:
        scheduled_runs.settle(store, row.id, "missed", "no scheduler was there to start it")
        return
    os.environ["ROUNDING"] = version(number)
    writer = start(store, replace(settings, trigger="nightly", scheduled_run=row.id))
    train_and_judge(writer, settings.dataset)
    run = store.run(writer.run_id)
    assert run.finished_at is not None
    if number in ACCEPTED:
        set_baseline(store, run, ACCEPTED[number], "Ada")
    ended = due + (run.finished_at - run.created_at)
    for statement in (
        update(RunRow).where(RunRow.id == run.id).values(created_at=due, finished_at=ended),
        update(VerdictRow).where(VerdictRow.run_id == run.id).values(created_at=ended),
        update(BaselineRow).where(BaselineRow.run_id == run.id).values(set_at=due + timedelta(hours=6)),
    ):
        store.write(lambda session, _, statement=statement: session.execute(statement))  # type: ignore[misc]


def main() -> None:
    """Simulate, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.year")
    parser.add_argument("--url", required=True, help="of a store that does not exist, or is empty")
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    with Store(options.url, create=True) as store, tempfile.TemporaryDirectory() as place:
        if scheduled_runs.newest(store, 1):
            sys.exit("the store has scheduled runs already")
        simulate(store, load(), Path(place) / "mine.py", options.nights, options.epochs)
        nights = scheduled_runs.newest(store)
        line = glance(store, nights)
        if options.page:
            options.page.write_text(nights_page(store, nights, line, options.page.parent))
        print(line)


if __name__ == "__main__":
    main()
