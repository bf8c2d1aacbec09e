"""The store returns what was stored, bit for bit, on both databases."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db import sweeps
from db.database import summaries
from db.errors import NotFoundError, StoreError
from db.schema import VerdictRow
from db.specification import Specification
from db.store import Store
from tests.samples import dataset_row, execute, history, start


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


def test_the_same_bytes_under_another_name_keep_that_name(store: Store) -> None:
    for name in ("made.csv", "copy.csv"):
        store.start_run(dataset_row(name=name), epochs=1, learning_rate=0.1, seed=0, environment={})
    assert [run.dataset.name for run in store.runs()] == ["copy.csv", "made.csv"]


def test_a_dataset_of_an_earlier_version_gets_its_rounding_and_keeps_it(store: Store) -> None:
    start(store)
    other = store.start_run(dataset_row(name="b"), epochs=1, learning_rate=0.1, seed=0, environment={})
    execute(store, "UPDATE datasets SET sum_error = NULL")
    for measured, kept in ((0.25, 0.25), (0.5, 0.25)):
        row = dataset_row()
        row.sum_error = measured
        run = store.start_run(row, epochs=1, learning_rate=0.1, seed=0, environment={}).run_id
        assert store.run(run).dataset.sum_error == kept
    assert store.run(other.run_id).dataset.sum_error is None


def test_a_run_keeps_its_settings_and_the_databases_time(store: Store) -> None:
    writer = start(store, epochs=7, learning_rate=0.25, seed=2**32 - 1, environment={"a": [1]})
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
    assert store.verdicts(start(store).run_id) == []


def test_a_verdict_that_says_something_else_is_stored_and_the_same_once(store: Store) -> None:
    one, other = start(store).run_id, start(store).run_id
    first: dict[str, Any] = {"kind": "drift", "passed": True, "tolerance": 0.0, "detail": "so"}
    changes: list[dict[str, Any]] = [
        {},
        {"detail": "otherwise"},
        {"against_run_id": other},
        {"model": "a"},
        {"against_model": "b"},
    ]
    stored = []
    for change in changes:
        stored += [store.add_verdict(VerdictRow(run_id=one, **first | change)).id for _ in range(2)]
    assert stored[::2] == stored[1::2] == sorted(set(stored))
    for change in changes[1:]:  # others have come since, and none of the same runs and models
        assert store.add_verdict(VerdictRow(run_id=one, **first | change)).id in stored
    assert len(store.verdicts(one)) == len(changes)


def test_a_specification_is_data_target_epochs_rate_and_seed(store: Store) -> None:
    first = start(store).run_id
    for change in ({"epochs": 11}, {"learning_rate": 0.2}, {"seed": 1}):
        start(store, **change)
    for column, value in (("sha256", "1" * 64), ("target", "z"), ("name", "copy.csv")):
        data = dataset_row()
        setattr(data, column, value)
        store.start_run(data, epochs=10, learning_rate=0.1, seed=0, environment={})
    copy, last = store.run().id, start(store, trigger="nightly").run_id
    same = Specification.of(store.run(first))
    assert [run.id for run in store.all(same.runs())] == [last, copy, first]


def test_the_newest_unfinished_run_is_whole_and_of_the_trigger_asked_for(store: Store) -> None:
    def unfinished(status: str, trigger: str = "manual") -> int:
        writer = start(store, trigger=trigger)
        writer.finish(status)
        return writer.run_id

    runs = [unfinished(status) for status in ("interrupted", "crashed", "failed")]
    unfinished("completed"), unfinished("diverged")
    nightly = unfinished("failed", "nightly")
    half = unfinished("crashed")
    store.write(lambda s, _: s.execute(text(f"UPDATE runs SET pruning = 'delete' WHERE id = {half}")))
    specification = Specification.of(store.run(runs[0]))
    for run in reversed(runs):
        newest = store.newest_unfinished(specification, trigger="manual")
        assert newest is not None
        assert newest.id == run
        with store.engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM runs WHERE id = {run}")
    assert store.newest_unfinished(specification, trigger="manual") is None
    newest = store.newest_unfinished(specification, trigger="nightly")
    assert newest is not None
    assert newest.id == nightly
    live = start(store).run_id
    assert (newest := store.newest_unfinished(specification, trigger="manual")) is not None
    assert newest.id == live


def test_summaries_say_of_each_run_what_its_row_says(store: Store) -> None:
    writers = [start(store, seed=seed, sweep="s", epochs=5 + seed) for seed in range(3)]
    writers[0].append("paddle", history(4))
    writers[0].append("python", history(2))
    writers[2].append("python", history(3))
    writers[0].finish("interrupted", "stopped by SIGINT")
    found = summaries(store)
    trained = [{"python": 3}, {}, {"paddle": 4, "python": 2}]
    assert [each.pop("trained") for each in summaries(store)] == trained
    for each, run in zip(found, store.runs(), strict=True):
        assert summaries(store, run.id) == [each]
        assert each.pop("digests") == {model.name: model.digest for model in run.models}
        data = run.dataset
        assert (each["dataset"], each["sha256"], each["target"]) == (data.name, data.sha256, data.target)
        assert each["reading"] == json.loads(data.reading)
        for column in each.keys() - {"dataset", "sha256", "target", "reading", "trained"}:
            assert each[column] == getattr(run, column), column
    assert [each["id"] for each in found] == [writer.run_id for writer in reversed(writers)]
    with pytest.raises(NotFoundError, match="there is no run 99"):
        summaries(store, 99)


def test_the_runs_of_a_sweep_come_by_rate_and_seed_with_their_losses(store: Store) -> None:
    settings = [(0.2, 0), (0.1, 9), (0.1, 3)]
    writers = [start(store, learning_rate=rate, seed=seed, sweep="ours") for rate, seed in settings]
    start(store, sweep="theirs").append("paddle", history(10))
    for writer in writers:
        writer.append("paddle", history(10, seed=writer.run_id))
        writer.append("python", history(10, seed=99))
    assert [run.id for run in sweeps.runs_of(store, "ours")] == [
        writer.run_id for writer in reversed(writers)
    ]
    assert sweeps.tables_of(store, "ours") == {("0" * 64, "y", "{}")}
    assert sweeps.tables_of(store, "nobody's") == set()
    expected = [
        (writer.run_id, epoch, float(own.train_loss[epoch]), float(own.test_loss[epoch]))
        for writer in writers
        for own in [history(10, seed=writer.run_id)]
        for epoch in (2, 7)
    ]
    assert sweeps.losses(store, "ours", [7, 2, 30]) == expected
    with pytest.raises(NotFoundError, match="no sweep 'nobody'; there are ours, theirs"):
        sweeps.runs_of(store, "nobody")


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
    execute(store, f"DELETE FROM runs WHERE id = {writer.run_id}")
    assert store.progress(writer.run_id) == {}
    assert store.progress(other.run_id) == {"paddle": 2}
    assert store.verdicts(other.run_id)[0].against_run_id is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE epochs SET train_loss = -1e39",
        "UPDATE epochs SET test_loss = 1e39",
        "UPDATE epochs SET epoch = -1",
        "UPDATE runs SET status = 'asleep'",
        "UPDATE runs SET trigger = 'whim'",
        "INSERT INTO epochs SELECT 99, model, epoch, 0, 0, parameters, 0 FROM epochs",
        "INSERT INTO epochs SELECT * FROM epochs",
    ],
)
def test_the_database_refuses_what_cannot_be(store: Store, change: str) -> None:
    start(store).append("paddle", history(1))
    with store.engine.connect() as connection, pytest.raises(DBAPIError):
        connection.exec_driver_sql(change)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_database_refuses_parameters_that_are_not_finite(store: Store, value: float) -> None:
    made = history(3)
    made.parameters[1, 2] = value
    with pytest.raises(StoreError, match="ck_epochs_parameters"):
        start(store).append("paddle", made)
    assert store.progress(1) == {}


def test_a_loss_may_be_negative(store: Store) -> None:
    made = history(3)
    made.train_loss[1], made.test_loss[2] = -7.5, -3.4e38
    writer = start(store)
    writer.append("paddle", made)
    assert store.history(writer.run_id, "paddle").same_bits(made)
