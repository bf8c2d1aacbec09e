"""The store keeps what it is given, bit for bit, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.errors import NotFoundError
from db.lease import RunWriter
from db.schema import VerdictRow
from db.store import Store
from tests.samples import dataset_row, history


def start(store: Store, **settings: object) -> RunWriter:
    defaults: dict[str, object] = {"epochs": 10, "learning_rate": 0.1, "seed": 0, "environment": {"a": [1]}}
    return store.start_run(dataset_row(), **(defaults | settings))  # type: ignore[arg-type]


def test_a_history_comes_back_bit_for_bit(store: Store) -> None:
    writer = start(store)
    stored = history(7)
    writer.append("paddle", stored[:3])
    writer.append("paddle", stored[3:])
    read = store.history(writer.run_id, "paddle")
    assert read.same_bits(stored)
    assert read.trained_at.tolist() == stored.trained_at.tolist()


def test_a_history_can_be_read_in_part(store: Store) -> None:
    writer = start(store)
    stored = history(10)
    writer.append("paddle", stored)
    assert store.history(writer.run_id, "paddle", 2, 4).same_bits(stored[2:5])
    assert store.history(writer.run_id, "paddle", step=3).epoch.tolist() == [0, 3, 6, 9]
    assert len(store.history(writer.run_id, "python")) == 0


def test_progress_counts_each_model(store: Store) -> None:
    writer = start(store)
    assert store.progress(writer.run_id) == {}
    writer.append("paddle", history(4))
    writer.append("python", history(2))
    assert store.progress(writer.run_id) == {"paddle": 4, "python": 2}


def test_a_dataset_is_stored_once(store: Store) -> None:
    runs = [store.run(start(store).run_id) for _ in range(2)]
    assert runs[0].dataset_id == runs[1].dataset_id
    assert [feature.name for feature in runs[0].dataset.features] == ["x0", "x1", "x2"]


def test_a_run_keeps_its_settings_and_the_databases_time(store: Store) -> None:
    writer = start(store, epochs=7, learning_rate=0.25, seed=2**32 - 1)
    run = store.run(writer.run_id)
    assert (run.epochs, run.learning_rate, run.seed) == (7, 0.25, 2**32 - 1)
    assert (run.status, run.trigger, run.resumes, run.environment) == ("running", "manual", 0, {"a": [1]})
    assert run.created_at.tzinfo is not None
    writer.finish("completed")
    finished = store.run(writer.run_id)
    assert finished.status == "completed"
    assert finished.owner is None
    assert finished.finished_at is not None
    assert finished.finished_at >= run.created_at


def test_latest_is_the_newest_run(store: Store) -> None:
    start(store)
    newest = start(store)
    assert store.run("latest").id == store.run(str(newest.run_id)).id == newest.run_id


@pytest.mark.parametrize("reference", ["latest", "7", "soon", "9" * 30, "-1", "٣"])
def test_a_run_that_is_not_there_is_refused(store: Store, reference: str) -> None:
    with pytest.raises(NotFoundError):
        store.run(reference)


def test_verdicts_are_kept_in_order(store: Store) -> None:
    writer = start(store)
    for passed in (True, False):
        verdict = VerdictRow(
            run_id=writer.run_id, kind="parity", passed=passed, tolerance=0.0, worst=None, detail="so"
        )
        assert store.add_verdict(verdict).id
    assert [verdict.passed for verdict in store.verdicts(writer.run_id)] == [True, False]


def test_a_deleted_run_takes_its_epochs_and_verdicts_along(store: Store) -> None:
    writer, other = start(store), start(store)
    for each in (writer, other):
        each.append("paddle", history(2))
    store.add_verdict(
        VerdictRow(
            run_id=other.run_id,
            kind="drift",
            against_run_id=writer.run_id,
            passed=True,
            tolerance=0.0,
            detail="",
        )
    )
    store.write(lambda session, _: session.execute(text(f"DELETE FROM runs WHERE id = {writer.run_id}")))
    assert store.progress(writer.run_id) == {}
    assert store.progress(other.run_id) == {"paddle": 2}
    assert store.verdicts(other.run_id)[0].against_run_id is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE epochs SET train_loss = -1",
        "UPDATE epochs SET test_loss = 1e39",
        "UPDATE epochs SET bias = -1e39",
        "UPDATE epochs SET epoch = -1",
        "UPDATE runs SET status = 'asleep'",
        "UPDATE runs SET trigger = 'whim'",
        "INSERT INTO epochs SELECT 99, model, epoch, 0, 0, weights, 0, 0 FROM epochs",
        "INSERT INTO epochs SELECT * FROM epochs",
    ],
)
def test_the_database_refuses_what_cannot_be(store: Store, change: str) -> None:
    start(store).append("paddle", history(1))
    with store.engine.connect() as connection, pytest.raises(DBAPIError):
        connection.exec_driver_sql(change)
