"""The runs of a sweep, one after the other in one process: `python -m benchmarks.row SEEDS EPOCHS`."""

from __future__ import annotations

import sys

from job.pins import pin

pin()

from db.store import Store  # noqa: E402
from job.data.dataset import DEFAULT_DATA, load  # noqa: E402
from job.sweep.tasks import Task, run_task  # noqa: E402


def main() -> None:
    """Train them all on the housing table into a new SQLite store."""
    seeds, epochs = map(int, sys.argv[1:])
    url, dataset = "sqlite:///row.db", load(DEFAULT_DATA)
    Store(url, create=True).close()
    for seed in range(seeds):
        result = run_task(Task("row", seed, 0.01, epochs, url, 60.0, 60.0), dataset, lambda: False)
        assert result.good, result


if __name__ == "__main__":
    main()
