"""Both databases return float32 values without losing a bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db import scheduled_runs
from db.database import summaries
from db.history import History
from db.schema import RunRow
from db.store import Store
from db.types import database_now, first_not_packed, pack, seconds_since, unpack
from tests.samples import dataset_row, history

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
FAMOUS = float(np.uint32(0x15AE43FD).view(np.float32))
"""its shortest decimal, 7.038531e-26, read as a double and rounded to float32, is its neighbour 0x15AE43FE"""
EXTREMES = [0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, -3.4028235e38, FAMOUS, 1.0, 1 / 3]


def bits(values: np.ndarray) -> list[int]:
    return values.view(np.uint32).ravel().tolist()


@given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=5))
@example([[0.5, 1.0, 2.0], [FAMOUS, 0.5, -0.0], [0.1, 0.2, 0.3]])
def test_packed_weights_come_back_bit_for_bit(rows: list[list[float]]) -> None:
    weights = np.array(rows, np.float32)
    assert bits(unpack(pack(weights))) == bits(weights)


@given(st.lists(finite, min_size=1, max_size=8))
@example([FAMOUS])
def test_any_json_reader_gets_the_same_float32(row: list[float]) -> None:
    weights = np.array([row], np.float32)
    (packed,) = pack(weights)
    assert bits(np.array([json.loads(packed)], np.float64).astype(np.float32)) == bits(weights)


def test_packed_weights_are_the_shortest_numbers() -> None:
    assert pack(np.array([[0.1, -2.5e-9]], np.float32)) == ["[0.1,-2.5e-9]"]
    assert pack(np.empty((0, 3), np.float32)) == []
    rows = np.array([[0.1, 0.5], [FAMOUS, 0.5], [0.2, 0.5]], np.float32)
    assert pack(rows) == ["[0.1,0.5]", "[7.038530691851209e-26,0.5]", "[0.2,0.5]"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(finite, min_size=4, max_size=4), data=st.data())
@example(values=EXTREMES[:4], data=None)
@example(values=EXTREMES[4:8], data=None)
@example(values=EXTREMES[6:], data=None)
def test_every_finite_float32_survives_the_store(store: Store, values: list[float], data: object) -> None:
    writer = store.start_run(dataset_row(), epochs=1, learning_rate=0.1, seed=0, environment={})
    stored = history(1)
    stored.parameters[0] = values
    stored.train_loss[0], stored.test_loss[0] = abs(values[0]), abs(values[1])
    writer.append("python", stored)
    assert store.history(writer.run_id, "python").same_bits(stored)


def test_the_sign_of_zero_survives_in_the_bias(store: Store) -> None:
    writer = store.start_run(dataset_row(), epochs=1, learning_rate=0.1, seed=0, environment={})
    stored = history(1)
    stored.parameters[0, -1] = -0.0
    writer.append("python", stored)
    assert math.copysign(1, store.history(writer.run_id, "python").parameters[0, -1]) == -1


@pytest.mark.parametrize("field", ["train_loss", "test_loss", "parameters"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_history_ends_before_its_first_number_that_is_not_finite(field: str, value: float) -> None:
    made = history(6)
    getattr(made, field)[3] = value
    assert len(made.finite()) == 3
    assert made.finite().same_bits(made[:3])
    assert isinstance(made.finite(), History)


def test_the_databases_clock_goes_on_within_a_transaction(store: Store) -> None:
    run_id = store.start_run(dataset_row(), epochs=1, learning_rate=0.1, seed=0, environment={}).run_id
    since = seconds_since(RunRow.heartbeat_at)
    asked = select(database_now(), since).where(RunRow.id == run_id)

    def twice(session: Session) -> list[tuple[datetime, float]]:
        first = session.execute(asked).one()
        time.sleep(0.2)
        return [(*first,), (*session.execute(asked).one(),)]

    (before, younger), (after, older) = store.read(twice)
    assert after - before >= timedelta(seconds=0.19)
    assert 0.19 <= older - younger < 60
    assert -0.01 <= younger < 60


@pytest.fixture
def newfoundland(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three and a half hours behind UTC in winter, for this process and for its PostgreSQL sessions."""
    monkeypatch.setenv("TZ", "America/St_Johns")
    monkeypatch.setenv("PGTZ", "America/St_Johns")
    time.tzset()
    assert time.timezone == 12_600
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("newfoundland")
def test_moments_are_the_same_in_every_time_zone(store: Store) -> None:
    due = datetime(2026, 1, 2, 2, 0, tzinfo=UTC)
    scheduled_run = scheduled_runs.add_due(store, "0 2 * * * UTC", due.astimezone())
    writer = store.start_run(
        dataset_row(),
        epochs=1,
        learning_rate=0.1,
        seed=0,
        environment={},
        scheduled_run=scheduled_run.id,
        trigger="nightly",
    )
    run, (summary,) = store.run(writer.run_id), summaries(store)
    for moment in (run.created_at, run.heartbeat_at, summary["created_at"], summary["heartbeat_at"]):
        assert moment.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    since = seconds_since(RunRow.heartbeat_at)
    assert -1 < store.read(lambda session: session.execute(select(since)).scalar_one()) < 60
    store.mark_crashed()
    assert store.run(writer.run_id).status == "running"
    found = scheduled_runs.find(store, scheduled_run.id).row.due_at
    assert (found, found.utcoffset()) == (due, timedelta(0))
    stored = {
        "sqlite": "SELECT due_at FROM scheduled_runs",
        "postgresql": "SELECT (due_at AT TIME ZONE 'UTC')::text FROM scheduled_runs",
    }[store.engine.dialect.name]
    assert store.read(lambda session: session.scalar(text(stored)))[:19] == "2026-01-02 02:00:00"


def test_numbers_that_an_earlier_version_wrote_in_full_are_no_change() -> None:
    vectors = np.array([[0.1, 0.5]] * 3, np.float32)
    written = ["[0.1,0.5]", "[0.10000000149011612,0.5]", "[0.1,0.5]"]
    assert first_not_packed(written, vectors) is None
    assert first_not_packed([*written[:2], "[0.1000000001,0.5]"], vectors) == 2
