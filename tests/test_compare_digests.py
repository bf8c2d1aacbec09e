"""Two runs are compared by their digests; only the epochs after the last equal one are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.history import History
from db.model_source import ModelSource
from db.store import Store
from job.verdicts.drift import differences, judge
from job.verdicts.gap import Difference, difference
from tests.samples import execute, history, start

CUTS = st.lists(st.integers(1, 11), max_size=4, unique=True).map(sorted)


def store_run(store: Store, whole: History, cuts: Sequence[int] = ()) -> int:
    """A run of 12 epochs of one model; its first blocks end before `cuts`."""
    writer = start(store, epochs=12, models=[ModelSource("paddle", "paddle")])
    inside = [cut for cut in cuts if cut < len(whole)]
    for first, last in zip([0, *inside], [*inside, len(whole)], strict=True):
        writer.append("paddle", whole[first:last])
    writer.finish("completed" if len(whole) == 12 else "interrupted")
    return writer.run_id


def compared(store: Store, one: int, other: int) -> Difference:
    return differences(store, store.run(one), store.run(other))["paddle"]


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.tuples(CUTS, CUTS),
    lengths=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    differs=st.integers(0, 12),
)
def test_whatever_the_blocks_the_difference_is_that_of_the_whole_histories(
    database_url: str, cuts: tuple[list[int], list[int]], lengths: tuple[int, int], differs: int
) -> None:
    one, other = history(12), history(12)
    other.test_loss[differs:] += 0.5
    one, other = one[: lengths[0]], other[: lengths[1]]
    with Store(database_url) as store:
        runs = [store_run(store, each, cut) for each, cut in zip((one, other), cuts, strict=True)]
        names = (f"run {runs[0]}", f"run {runs[1]}")
        expected = difference(one, other, store.run(runs[0]).parameter_names, names, 0.0)
        found = compared(store, *runs)
        if expected.first_epoch is None:  # then any epoch has the largest gap, which is 0
            found = replace(found, worst_epoch=expected.worst_epoch)
        assert found == expected


def test_equal_digests_are_the_same_bits_without_an_epoch_being_read(
    store: Store,
) -> None:
    runs = [store_run(store, history(12), cuts) for cuts in ((3,), (5, 7))]
    execute(store, "DELETE FROM epochs WHERE epoch < 11")
    found = compared(store, *runs)
    assert (found.epochs, found.same_bits) == (12, True)
    assert judge(store, store.run(1), store.run(2)).verdict.passed


def test_only_the_epochs_after_the_last_equal_digest_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = history(12)
    other.train_loss[8] += 1
    runs = [store_run(store, history(12), (3, 7)), store_run(store, other, (2, 7, 9))]
    read: list[int] = []
    before = Store.history

    def noted(self: Store, run_id: int, model: str, first_epoch: int = 0) -> History:
        read.append(first_epoch)
        return before(self, run_id, model, first_epoch)

    monkeypatch.setattr(Store, "history", noted)
    assert compared(store, *runs).first_epoch == 8
    assert read == [7, 7]


def test_digests_that_are_not_computed_are_not_equal(store: Store) -> None:
    runs = [store_run(store, history(12, seed=seed)) for seed in (0, 1)]
    execute(store, "UPDATE blocks SET digest = NULL")
    assert compared(store, *runs).first_epoch == 0
