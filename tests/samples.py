"""Small made-up datasets and histories for tests."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import text, update

from db.history import Float64s, History, State
from db.lease import RunWriter
from db.schema import DatasetRow, FeatureRow, ModelRow, ParameterRow, RunRow
from db.store import Store
from job.data.dataset import Dataset
from job.data.layout import Layout
from job.data.reading import DEFAULT, Reading
from job.data.table import Table
from job.models.base import LinearRegression, Model
from job.models.loading import load_models

ELSEWHERE = "0123@another-machine/boot/1:1:1"


def write_csv(path: Path, rows: int = 30, features: int = 3, seed: int = 1) -> Path:
    """A CSV of random features and a target that depends on them."""
    random = np.random.RandomState(seed)
    table = random.randn(rows, features)
    target = table @ np.arange(1, features + 1) + 0.1 * random.randn(rows)
    names = [*(f"x{i}" for i in range(features)), "y"]
    lines = [",".join(f"{value:.6f}" for value in row) for row in np.column_stack([table, target])]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return path


def dataset_row(features: int = 3, name: str = "made.csv") -> DatasetRow:
    return DatasetRow(
        name=name,
        sha256="0" * 64,
        target="y",
        train_rows=24,
        test_rows=6,
        target_minimum=0.0,
        target_maximum=1.0,
        target_mean=0.5,
        reading="{}",
        features=[
            FeatureRow(position=i, name=f"x{i}", minimum=0.0, maximum=1.0, mean=0.5) for i in range(features)
        ],
    )


def history(epochs: int = 5, features: int = 3, first_epoch: int = 0, seed: int = 0) -> History:
    """Random numbers in the shape of a history."""
    random = np.random.RandomState(seed)
    made = History.empty(epochs, features + 1, first_epoch)
    made.train_loss[:] = random.rand(epochs)
    made.test_loss[:] = random.rand(epochs)
    made.parameters[:, :-1] = random.randn(epochs, features)
    made.parameters[:, -1] = random.randn(epochs)
    made.trained_at[:] = 1.7e9 + random.rand(epochs)
    return made


def histories(epochs: int = 5, features: int = 3, seed: int = 0) -> dict[str, History]:
    """A history of each model, with no number in common."""
    return {
        model: history(epochs, features, seed=seed + shift)
        for model, shift in (("paddle", 0), ("python", 1000))
    }


def two_runs(store: Store, dataset: DatasetRow) -> None:
    """Runs 1 and 2 with their own histories, and run 3 without epochs."""
    for seed in (0, 1, 2):
        writer = store.start_run(dataset, epochs=30, learning_rate=0.1, seed=seed, environment={"a": 1})
        if seed < 2:
            for model, own in histories(30, seed=seed).items():
                writer.append(model, own)
            writer.finish("completed")


def model(name: str, dataset: Dataset, learning_rate: float = 0.1, state: State | int = 0) -> Model:
    """A built-in model at a state, or at the start of a seed."""
    start = state if isinstance(state, State) else LinearRegression.initial(dataset, state)
    return load_models([name])[name](dataset, learning_rate, 0, start)


def regression(run: RunRow, dataset: DatasetRow) -> RunRow:
    """The run with that dataset and with the models and parameters of a linear regression of it."""
    run.dataset = dataset
    run.models = [ModelRow(position=i, name=name, source=name) for i, name in enumerate(("paddle", "python"))]
    names = [*(feature.name for feature in dataset.features), "bias"]
    run.parameters = [ParameterRow(position=i, name=name) for i, name in enumerate(names)]
    return run


def run_row(**settings: object) -> RunRow:
    """A run as the store would return it."""
    defaults: dict[str, object] = {"id": 1, "epochs": 10, "learning_rate": 0.1, "seed": 0}
    created = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    return regression(RunRow(**(defaults | settings), created_at=created), dataset_row())


def start(store: Store, **settings: object) -> RunWriter:
    """A new run of `dataset_row`."""
    defaults: dict[str, object] = {"epochs": 10, "learning_rate": 0.1, "seed": 0, "environment": {"cpu": "a"}}
    return store.start_run(dataset_row(), **(defaults | settings))  # type: ignore[arg-type]


def execute(store: Store, *statements: str) -> None:
    """Change a store by SQL, a transaction for each statement."""
    for statement in statements:
        store.write(lambda session, _, sql=statement: session.execute(text(sql)))  # type: ignore[misc]


def set_times(store: Store, run_id: int, **times: datetime) -> None:
    """Change moments of a run, whatever time zone the database has."""
    changed = update(RunRow).where(RunRow.id == run_id).values(**times)
    store.write(lambda session, _: session.execute(changed))


def silence(store: Store, run_id: int, seconds: float) -> None:
    """Move a run's last heartbeat into the past by the database's clock, with a holder on another machine."""
    past = {
        "sqlite": f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{seconds} seconds')",
        "postgresql": f"clock_timestamp() - interval '{seconds} seconds'",
    }[store.engine.dialect.name]
    execute(store, f"UPDATE runs SET heartbeat_at = {past}, owner = '{ELSEWHERE}' WHERE id = {run_id}")


@contextmanager
def sqlite_file(url: str | Path) -> Iterator[sqlite3.Connection]:
    """A connection to the file of a SQLite store, without our engine; commits and closes it at the end."""
    with closing(sqlite3.connect(str(url).removeprefix("sqlite:///"))) as connection, connection:
        yield connection


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    # A frozen test clock does not move perf_counter.
    deadline = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < deadline, "this did not come about in time"
        time.sleep(0.02)


def table_of(values: Float64s, names: Sequence[str], reading: Reading = DEFAULT) -> Table:
    """A table of numbers that are in no file."""
    layout = Layout(",", ".", tuple(names), "named", before=1, names_line=1)
    return Table(Path("made.csv"), "0" * 64, tuple(names), np.asfortranarray(values), layout, reading)
