"""The input of the figures: a run's stored epochs, and its dataset if the file is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from db.errors import StoreError
from db.history import History
from db.schema import RunRow
from db.store import Store
from job.data.dataset import Dataset
from job.data.source import source
from job.verdicts.gap import TOLERANCE, tolerance_for


@dataclass(frozen=True, slots=True)
class Subject:
    """A run with all of its stored epochs."""

    run: RunRow
    histories: dict[str, History]
    """by model; at least one epoch each"""
    dataset: Dataset | None
    """None if the data file is not found"""
    tolerance: float = TOLERANCE
    """of the run's last parity verdict, or the default for its rows"""

    @property
    def models(self) -> list[str]:
        """The run's models in order, those without an epoch too."""
        return [model.name for model in self.run.models]


def read_subject(store: Store, run: RunRow, data: Path | None = None) -> Subject:
    """Read a run for the figures. Raises StoreError without epochs, DataError if `data` is another file."""
    histories = {model: store.history(run.id, model) for model in store.progress(run.id)}
    if not histories:
        raise StoreError(f"run {run.id} has no epochs yet, so there is nothing to draw")
    judged = [verdict.tolerance for verdict in store.verdicts(run.id) if verdict.kind == "parity"]
    tolerance = judged[-1] if judged else tolerance_for(run.dataset)
    return Subject(run, histories, source(run, data), tolerance)
