"""The list of runs with their datasets, for `job runs`, read without the object-relational mapper."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

from db.database import Database
from db.epochs import PROGRESS, PROGRESS_OF_ALL
from db.errors import NotFoundError
from db.types import UtcDateTime

_SUMMARY = """
    SELECT r.id, r.status, r.stop_reason, r.trigger, d.name AS dataset, d.sha256, d.target, d.reading,
        r.epochs, r.learning_rate, r.seed, r.resumes, r.created_at, r.heartbeat_at, r.finished_at, r.sweep,
        r.thinned_every, EXISTS (SELECT 1 FROM archived_models a WHERE a.run_id = r.id) AS archived
    FROM runs r
    JOIN datasets d ON d.id = r.dataset_id
    {of}
    ORDER BY r.id DESC
"""
_MOMENTS = dict.fromkeys(("created_at", "heartbeat_at", "finished_at"), UtcDateTime)
SUMMARY = text(_SUMMARY.format(of="WHERE r.id = :run")).columns(**_MOMENTS)
SUMMARY_OF_ALL = text(_SUMMARY.format(of="")).columns(**_MOMENTS)
_DIGESTS = "SELECT run_id, name, digest FROM models {of} ORDER BY run_id, position"
DIGESTS = text(_DIGESTS.format(of="WHERE run_id = :run"))
DIGESTS_OF_ALL = text(_DIGESTS.format(of=""))


def summaries(database: Database, run_id: int | None = None) -> list[dict[str, Any]]:
    """All runs, or the one of that id, newest first: columns of `runs` and `datasets` by name, and more.

    `archived` is whether its epochs are in archives, `trained` the number of epochs by model, `digests` the
    digest by model or None. Times are aware, in UTC. Raises NotFoundError if the run is not there.
    """
    summary, progress = (SUMMARY_OF_ALL, PROGRESS_OF_ALL) if run_id is None else (SUMMARY, PROGRESS)
    given = {} if run_id is None else {"run": run_id}
    digests = DIGESTS_OF_ALL if run_id is None else DIGESTS

    def work(connection: Connection) -> list[dict[str, Any]]:
        by_model = {
            "trained": by_run(connection.execute(progress, given)),
            "digests": by_run(connection.execute(digests, given)),
        }
        rows = connection.execute(summary, given).mappings()
        return [
            {**row, "reading": json.loads(row["reading"]), "archived": bool(row["archived"])}
            | {name: found.get(row["id"], {}) for name, found in by_model.items()}
            for row in rows
        ]

    found = database.connected(work)
    if not found and run_id is not None:
        raise NotFoundError(f"there is no run {run_id}; `job runs` lists what there is")
    return found


def by_run(rows: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """The values of rows of a run's id, a model's name and a value: by run, and then by model."""
    found: dict[int, dict[str, Any]] = {}
    for run_id, model, value in rows:
        found.setdefault(run_id, {})[model] = value
    return found
