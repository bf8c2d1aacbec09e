"""A pruning that was killed half-way is finished as planned, whatever the next policy is."""

from __future__ import annotations

from typing import Any

import pytest

from db.epochs import what_is_left
from db.errors import LeaseLostError
from db.retention import Policy, apply_pruning, prunings
from db.store import Store
from tests.faults import fails_once
from tests.pruning import OLD, Killed, actions, after_each_batch, failed, ids, kill, made, prune
from tests.samples import dataset_row, execute, history

DELETE: dict[str, Any] = {"keep_nights": 1}


def thin(every: int) -> dict[str, Any]:
    return {"thin_older_than": OLD / 2, "every": every}


@pytest.fixture
def half_pruned(store: Store) -> Any:
    """Begins to prune a run by a policy, and is killed after the first transaction."""

    def begin(run: int, **policy: Any) -> None:
        rules = Policy(**policy)
        (pruning,) = (each for each in prunings(store, rules) if each.run.id == run)
        with pytest.raises(Killed), after_each_batch(kill):
            apply_pruning(store, pruning, rules)

    return begin


@pytest.mark.parametrize("then", [thin(10), {"keep_nights": 5}], ids=["thin", "keep more"])
def test_a_deletion_that_was_begun_is_ended_as_one(store: Store, half_pruned: Any, then: Any) -> None:
    run, last = made(store), made(store)
    half_pruned(run, **DELETE)
    prune(store, **then)
    assert ids(store) == [last]


def test_a_deletion_that_was_forced_is_ended_without_force(store: Store, half_pruned: Any) -> None:
    run, last = made(store), made(store)
    failed(store, run)
    half_pruned(run, **DELETE, force=True)
    prune(store, **DELETE)
    assert ids(store) == [last]


def test_a_thinning_that_was_forced_is_ended_without_force(store: Store, half_pruned: Any) -> None:
    run, _ = made(store), made(store)
    failed(store, run)
    half_pruned(run, **thin(10), force=True)
    prune(store, **DELETE)
    assert (store.run(run).pruning, store.run(run).thinned_every) == (None, 10)


@pytest.mark.parametrize(
    ("begun", "then", "left"),
    [(100, 10, 100), (10, 100, 100), (100, 30, 100), (10, 10, 10)],
)
def test_a_thinning_that_was_begun_ends_with_a_step_whose_epochs_are_there(
    store: Store, half_pruned: Any, begun: int, then: int, left: int
) -> None:
    run = made(store, epochs=250, trigger="manual")
    half_pruned(run, **thin(begun))
    prune(store, **thin(then))
    assert store.run(run).thinned_every == left
    for model in ("paddle", "python"):
        epochs = set(store.history(run, model).epoch.tolist())
        assert set(range(0, 250, left)) <= epochs
        assert len(epochs) <= 250 / left + 6


def test_a_thinning_that_was_begun_is_ended_by_a_policy_that_thins_nothing(
    store: Store, half_pruned: Any
) -> None:
    run = made(store, trigger="manual")
    half_pruned(run, **thin(10))
    prune(store, keep_nights=5)
    assert store.run(run).thinned_every == 10


@pytest.mark.parametrize(
    ("policy", "said"), [(DELETE, "half deleted"), (thin(10), "half downsampled to every 10th epoch")]
)
def test_what_was_begun_is_said(store: Store, half_pruned: Any, policy: Any, said: str) -> None:
    run, _ = made(store), made(store)
    half_pruned(run, **policy)
    assert what_is_left(store.run(run)).startswith(said)


def test_a_night_whose_thinning_was_begun_may_still_be_deleted(store: Store, half_pruned: Any) -> None:
    run, last = made(store), made(store)
    half_pruned(run, **thin(10))
    prune(store, **DELETE)
    assert ids(store) == [last]


def test_a_trainer_that_comes_back_writes_nothing_into_a_run_that_is_half_deleted(
    store: Store, half_pruned: Any
) -> None:
    writer = store.start_run(
        dataset_row(), epochs=40, learning_rate=0.1, seed=0, environment={}, trigger="nightly"
    )
    writer.append("paddle", history(20))
    execute(store, "UPDATE runs SET status = 'crashed', finished_at = heartbeat_at")
    made(store)
    half_pruned(writer.run_id, **DELETE)
    with (
        pytest.raises(LeaseLostError),
        fails_once(store),
    ):  # after a lost connection, it looks for its run again
        writer.append("paddle", history(20, first_epoch=20))
    assert (store.run(writer.run_id).status, store.run(writer.run_id).owner) == ("crashed", None)
    assert store.progress(writer.run_id) == {"paddle": 20}


def test_of_two_prunings_of_a_run_at_a_time_the_later_one_says_what_is_left(store: Store) -> None:
    run = made(store, epochs=250, trigger="manual")
    fine, coarse = Policy(**thin(10)), Policy(**thin(100))
    (first,) = prunings(store, fine)

    def meanwhile() -> None:
        if actions(store, **thin(100)):
            prune(store, **thin(100))

    with after_each_batch(meanwhile):
        apply_pruning(store, first, fine)
    assert store.run(run).thinned_every == 100
    assert apply_pruning(store, first, coarse) is None, "it was planned for a whole run"
