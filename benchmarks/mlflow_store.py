"""Writes the same values to MLflow's SQLite store; runs where MLflow is, and imports none of our code.

`python benchmarks/mlflow_store.py VALUES.json DATABASE` prints JSON: seconds and megabytes for one run, and
MLflow's version. VALUES holds, for each metric, its values by step and their times in milliseconds. Creating
the tables comes first and is not counted.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path


def main() -> None:
    """Log one run with `log_batch`, in the largest batches that MLflow accepts."""
    values, database = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    logging.disable(logging.INFO)
    import mlflow
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{database}")
    run = client.create_run(client.create_experiment("one")).info.run_id
    empty = size(database)
    metrics = [
        Metric(name, value, moment, step)
        for name, column in values.items()
        for step, (value, moment) in enumerate(zip(*column, strict=True))
    ]
    begun = time.perf_counter()
    for start in range(0, len(metrics), 1000):
        client.log_batch(run, metrics=metrics[start : start + 1000])
    seconds = time.perf_counter() - begun
    megabytes = (size(database) - empty) / 1e6
    print(json.dumps({"seconds": seconds, "megabytes": megabytes, "version": mlflow.__version__}))


def size(database: Path) -> int:
    """Bytes of the database and of its companion files."""
    return sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*"))


if __name__ == "__main__":
    main()
