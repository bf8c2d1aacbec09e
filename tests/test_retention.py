"""What is pruned, what stays, and that a pruned run is never taken for whole."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.errors import LockNotAvailable
from sqlalchemy import Delete, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db import retention, scheduled_runs
from db.errors import LeaseLostError, StoreError
from db.lease import RunWriter, rowcount
from db.retention import Policy, apply_pruning, prunings
from db.schema import UNFINISHED, VerdictRow
from db.store import Store
from job.mirror.repair import repair_logs, rewrite
from job.verdicts.drift import compare
from job.verdicts.verify import verify
from tests.faults import fails_once
from tests.pruning import OLD, Killed, actions, after_each_batch, failed, ids, kill, made, prune
from tests.samples import dataset_row, execute, history
from tests.trainers import start_and_wait
from tests.visualdl_logs import assert_drawn, log_of

Output = pytest.CaptureFixture[str]


def test_only_the_newest_nights_stay(store: Store) -> None:
    runs = [made(store) for _ in range(5)]
    by_hand = made(store, trigger="manual")
    prune(store, keep_nights=2)
    assert ids(store) == [*runs[3:], by_hand]
    left = store.read(lambda session: session.scalar(text("SELECT count(*) FROM epochs")))
    assert left == 3 * 2 * 40


def test_what_a_failed_verdict_is_about_stays_unless_forced(store: Store) -> None:
    first, before, drifted, last = (made(store) for _ in range(4))
    failed(store, drifted, against=before)
    assert actions(store, keep_nights=1) == {first: "delete", before: "keep", drifted: "keep"}
    assert actions(store, thin_older_than=OLD / 2, every=10)[drifted] == "keep"
    prune(store, keep_nights=1, force=True)
    assert ids(store) == [last]


def test_the_night_that_the_next_is_compared_with_stays(store: Store) -> None:
    other = made(store, seed=7)
    before = made(store)
    broken = made(store, status="crashed")
    assert actions(store, keep_nights=1, thin_older_than=OLD / 2, every=10, force=True) == {
        other: "keep",
        before: "keep",
    }
    assert broken in ids(store)
    execute(store, f"UPDATE runs SET thinned_every = 2 WHERE id = {made(store)}")
    assert actions(store, keep_nights=1)[before] == "keep", "the newest is no longer whole"
    assert scheduled_runs.night_before(store, store.run(made(store))) is not None


def test_a_run_is_thinned_once_it_is_as_old_as_was_said(store: Store) -> None:
    hour = timedelta(hours=1)
    ages = [timedelta(days=90) + hour, timedelta(days=90) - hour, timedelta(hours=90)]
    old, *_ = (made(store, age=age, trigger="manual") for age in ages)
    (pruning,) = prunings(store, Policy(thin_older_than=timedelta(days=90), every=10))
    assert (pruning.run.id, pruning.why) == (old, "ended 90 days ago")
    assert actions(store, thin_older_than=timedelta(hours=89), every=10) == dict.fromkeys(ids(store), "thin")


def test_live_young_and_resumable_runs_are_not_thinned(store: Store) -> None:
    made(store, age=timedelta(days=1), trigger="manual")
    for status in UNFINISHED:
        made(store, status=status, trigger="manual")
    old = made(store, trigger="manual")
    live = store.start_run(dataset_row(), epochs=40, learning_rate=0.1, seed=0, environment={})
    live.append("paddle", history(40))
    assert actions(store, thin_older_than=OLD / 2, every=10) == {old: "thin"}


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(epochs=st.integers(3, 60), every=st.integers(2, 40), step=st.integers(1, 50))
@example(epochs=10, every=10, step=10)
@example(epochs=11, every=10, step=10)
def test_thinning_leaves_what_it_says_in_the_same_bits(
    store: Store, monkeypatch: pytest.MonkeyPatch, epochs: int, every: int, step: int
) -> None:
    monkeypatch.setattr(retention, "STEP", step)
    run = made(store, epochs=epochs, trigger="manual")
    before = {model: store.history(run, model) for model in ("paddle", "python")}
    prune(store, thin_older_than=OLD / 2, every=every)
    if epochs <= every:
        assert store.run(run).thinned_every is None
        return
    assert store.run(run).thinned_every == every
    best = {
        int(np.argmin(losses)) for each in before.values() for losses in (each.train_loss, each.test_loss)
    }
    expected = sorted({*range(0, epochs, every), *best, epochs - 1})
    for model, whole in before.items():
        left = store.history(run, model)
        assert left.epoch.tolist() == expected
        for column in ("train_loss", "test_loss", "parameters", "trained_at"):
            assert getattr(left, column).tobytes() == getattr(whole, column)[expected].tobytes()


def test_a_thinned_run_is_thinned_further_only_where_its_epochs_allow(store: Store) -> None:
    run = made(store, trigger="manual")
    prune(store, thin_older_than=OLD / 2, every=4)
    assert actions(store, thin_older_than=OLD / 2, every=4) == {}
    assert actions(store, thin_older_than=OLD / 2, every=10) == {}
    assert actions(store, thin_older_than=OLD / 2, every=8) == {run: "thin"}


def test_a_thinned_run_is_never_taken_for_a_whole_one(store: Store) -> None:
    whole, thin = made(store), made(store, trigger="manual")
    nightly = made(store, status="completed")
    prune(store, thin_older_than=OLD / 2, every=10)
    row = store.run(thin)
    assert row.thinned_every == 10
    for judge in (
        lambda: verify(store, row),
        lambda: compare(store, row, store.run(nightly)),
        lambda: compare(store, store.run(nightly), row),
        lambda: store.resume_run(thin, epochs=80, environment={}),
    ):
        with pytest.raises(StoreError, match="downsampled to every 10th epoch"):
            judge()
    assert store.run(whole).thinned_every == 10, "an older night may be thinned"
    assert scheduled_runs.night_before(store, store.run(nightly)) is None


def test_a_verdict_on_a_run_that_was_thinned_meanwhile_is_not_stored(store: Store) -> None:
    run, other = made(store, trigger="manual"), made(store, trigger="manual", age=timedelta(0))
    prune(store, thin_older_than=OLD / 2, every=10)
    for about, against in ((run, other), (other, run)):
        with pytest.raises(StoreError, match="downsampled"):
            failed(store, about, against)
    assert not store.verdicts(run)


def test_a_run_resumed_meanwhile_is_left_alone(store: Store) -> None:
    run = made(store, status="interrupted")
    made(store)
    rules = Policy(keep_nights=1)
    (pruning,) = prunings(store, rules)
    writer = store.resume_run(run, epochs=60, environment={})
    assert apply_pruning(store, pruning, rules) is None
    assert len(store.history(run, "paddle")) == 40
    writer.finish("interrupted")
    assert apply_pruning(store, pruning, rules) is None


def crashed_night(store: Store) -> RunWriter:
    """The writer of a nightly run with five epochs of one model, which is marked as crashed."""
    writer = store.start_run(
        dataset_row(), epochs=40, learning_rate=0.1, seed=0, environment={}, trigger="nightly"
    )
    writer.append("paddle", history(5))
    execute(store, "UPDATE runs SET status = 'crashed', finished_at = heartbeat_at")
    return writer


def test_a_crashed_run_that_its_trainer_takes_back_meanwhile_is_left_alone(store: Store) -> None:
    writer = crashed_night(store)
    made(store)
    rules = Policy(keep_nights=1)
    (pruning,) = prunings(store, rules)
    with fails_once(store):  # after a lost connection, it looks for its run again
        writer.append("paddle", history(5, first_epoch=5))
    assert apply_pruning(store, pruning, rules) is None
    writer.append("paddle", history(5, first_epoch=10))


def test_a_run_that_failed_a_verdict_meanwhile_is_left_alone(store: Store) -> None:
    run, other = made(store), made(store)
    rules = Policy(keep_nights=1)
    (pruning,) = prunings(store, rules)
    failed(store, other, against=run)
    assert apply_pruning(store, pruning, rules) is None
    assert store.run(run).thinned_every is None
    assert len(store.history(run, "python")) == 40
    assert apply_pruning(store, pruning, Policy(keep_nights=1, force=True)) == 80


def test_the_trainer_of_a_pruned_run_has_lost_it(store: Store) -> None:
    writer = crashed_night(store)
    made(store)
    prune(store, keep_nights=1)
    with pytest.raises(LeaseLostError):
        writer.append("paddle", history(5, first_epoch=5))


@pytest.mark.parametrize("action", ["delete", "thin"])
def test_what_a_kill_leaves_undone_the_next_time_does(store: Store, action: str) -> None:
    run = made(store)
    made(store)
    policy = {"keep_nights": 1} if action == "delete" else {"thin_older_than": OLD / 2, "every": 10}
    rules = Policy(**policy)
    (pruning,) = (each for each in prunings(store, rules) if each.action == action)

    with pytest.raises(Killed), after_each_batch(kill):
        apply_pruning(store, pruning, rules)
    with pytest.raises(StoreError, match=r"half (deleted|downsampled)"):
        verify(store, store.run(run))
    prune(store, **policy)
    assert (run in ids(store)) is (action == "thin")
    if action == "thin":
        assert store.run(run).thinned_every == 10
        assert set(range(0, 40, 10)) <= set(store.history(run, "paddle").epoch.tolist())
        assert len(store.history(run, "paddle")) < 12


def test_nights_and_verdicts_outlive_the_run_they_are_about(store: Store) -> None:
    scheduled_run = scheduled_runs.add_due(store, "0 2 * * * UTC", store.run(made(store)).created_at)
    first = made(store, scheduled_run=scheduled_run.id)
    second = made(store)
    store.add_verdict(
        VerdictRow(run_id=second, kind="drift", against_run_id=first, passed=True, tolerance=0, detail="")
    )
    prune(store, keep_nights=1)
    assert scheduled_runs.find(store, scheduled_run.id).outcome == "pruned"
    assert store.verdicts(second)[0].against_run_id is None


def test_the_logs_of_a_thinned_run_are_drawn_once_from_what_is_left(store: Store, tmp_path: Path) -> None:
    run = made(store, trigger="manual", epochs=2500)
    prune(store, thin_older_than=OLD / 2, every=2000)
    said: list[str] = []
    rewrite(store, store.run(run), tmp_path, said.append, lambda *_: None, timeout=1)
    log = log_of(tmp_path, run, "paddle")
    first = log.read_bytes()
    repair_logs(store, tmp_path, said.append)
    assert log.read_bytes() == first
    assert said == []
    assert_drawn(log, store.history(run, "paddle"))


@pytest.mark.parametrize("backend", ["postgresql"])
def test_nobody_else_can_put_a_runs_epochs_back_while_some_are_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(store, epochs=20)

    def locked(session: Session, rows: Delete) -> int:
        lock = text(f"SELECT id FROM runs WHERE id = {run} FOR UPDATE NOWAIT")
        with store._writing.connect() as other, pytest.raises(OperationalError) as refusal:
            other.execute(lock)
        assert isinstance(refusal.value.orig, LockNotAvailable)
        return rowcount(session, rows)

    monkeypatch.setattr(retention, "rowcount", locked)
    assert retention.delete_epochs(store, run, {"paddle": 20}, ()) == 20


@pytest.mark.slow
def test_pruning_beside_a_live_trainer_changes_no_bit_of_it(database_url: str) -> None:
    with Store(database_url) as store:
        for _ in range(3):
            made(store, trigger="manual", epochs=3000)
        trainer = start_and_wait(database_url, 15_000)
        live = store.run().id
        prune(store, thin_older_than=OLD / 2, every=100)
        assert store.run(live).status == "running", "the trainer should still be at work"
        _, err = trainer.communicate(timeout=120)
        assert trainer.returncode == 0, err
        assert store.run(live).thinned_every is None
        assert all(len(store.history(live, model)) == 15_000 for model in ("paddle", "python"))
        assert [run.thinned_every for run in store.runs()][1:] == [100, 100, 100]
