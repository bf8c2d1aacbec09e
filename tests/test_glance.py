"""The last line of `job nights`: since when unchanged, how many passed, what is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from db import scheduled_runs
from db.store import Store
from job.schedule.glance import glance
from job.verdicts.baseline import clear_baseline, set_baseline
from tests.samples import execute
from tests.series import FIRST, judged, night, trained


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    with Store(migrated_url) as opened:
        yield opened


@pytest.fixture
def said(store: Store) -> Callable[[], str]:
    return lambda: glance(store, scheduled_runs.newest(store))


def test_nothing_yet(said: Callable[[], str]) -> None:
    assert said() == "no run is completed; 0 of 0 passed; open: nothing"


def test_unchanged_nights(store: Store, said: Callable[[], str]) -> None:
    for _ in range(3):
        judged(store, night(store))
    assert said() == "unchanged since 2026-03-01 (run 1); 3 of 3 passed; open: nothing"


def test_a_drift_without_a_baseline_is_not_open(store: Store, said: Callable[[], str]) -> None:
    for bits in (0, 1, 1):
        judged(store, night(store, bits))
    assert said() == "unchanged since 2026-03-02 (run 2); 2 of 3 passed; open: nothing"


def test_a_drift_from_the_baseline_is_open_until_it_is_accepted(
    store: Store, said: Callable[[], str]
) -> None:
    set_baseline(store, night(store), "why", "alice")
    for bits in (0, 1, 2, 2):
        judged(store, night(store, bits))
    changed = "unchanged since 2026-03-04 (run 4); 2 of 5 passed; "
    assert said() == changed + "open: differs from the baseline, run 1, since 2026-03-03 (run 3)"
    row = set_baseline(store, store.run(4), "accepted", "alice")
    assert said() == changed + "open: nothing"
    judged(store, night(store, 0))
    assert said().endswith(
        "; 2 of 6 passed; open: differs from the baseline, run 4, since 2026-03-06 (run 6)"
    )
    clear_baseline(store, row, "no more", "alice")
    assert said().endswith("; open: nothing")


def test_nights_before_the_baseline_are_not_open(store: Store, said: Callable[[], str]) -> None:
    night(store)
    set_baseline(store, trained(store, 1), "an upgrade", "alice")
    assert said() == "unchanged since 2026-03-01 (run 1); 1 of 1 passed; open: nothing"


def test_specifications_are_not_compared_with_each_other(store: Store, said: Callable[[], str]) -> None:
    for _ in range(2):
        set_baseline(store, night(store), "why", "alice")
        set_baseline(store, night(store, 1, seed=1), "why", "alice")
    assert said() == "unchanged since 2026-03-01 (run 1); 4 of 4 passed; open: nothing"
    for run in (night(store, 2), night(store, 2, seed=1)):
        judged(store, run)
    assert said() == (
        "unchanged since 2026-03-06 (run 6); 4 of 6 passed; open: differs from the baseline, run 3, since "
        "2026-03-05 (run 5), differs from the baseline, run 4, since 2026-03-06 (run 6)"
    )


def test_a_missed_and_a_failed_night_do_not_pass_and_are_open_while_they_are_the_last(
    store: Store, said: Callable[[], str]
) -> None:
    night(store)
    row = scheduled_runs.add_due(store, "x", FIRST + timedelta(days=1))
    assert "a scheduled run was due at 2026-03-02 02:00Z and has not begun" in said()
    scheduled_runs.settle(store, row.id, "missed", "off")
    counted = "unchanged since 2026-03-01 (run 1); 1 of 2 passed; open: "
    assert said() == counted + "the scheduled run of 2026-03-02 02:00Z was missed: off"
    failed = night(store, status="failed")
    counted = "unchanged since 2026-03-01 (run 1); 1 of 3 passed; open: "
    for how in ("failed", "crashed", "diverged", "interrupted"):
        execute(store, f"UPDATE runs SET status = '{how}' WHERE id = {failed.id}")
        assert said() == counted + f"the run of 2026-03-03 02:00Z: {how}"
    night(store)
    assert said() == "unchanged since 2026-03-01 (run 1); 2 of 4 passed; open: nothing"


def test_what_was_skipped_or_pruned_or_is_not_over_does_not_count(
    store: Store, said: Callable[[], str]
) -> None:
    first = night(store)
    night(store)
    execute(store, f"DELETE FROM runs WHERE id = {first.id}")
    skipped = scheduled_runs.add_due(store, "x", FIRST + timedelta(days=2))
    scheduled_runs.settle(store, skipped.id, "skipped", "why not")
    scheduled_runs.add_due(store, "x", FIRST + timedelta(days=9999))
    assert said() == "unchanged since 2026-03-02 (run 2); 1 of 1 passed; open: nothing"


def test_a_night_whose_models_disagree_did_not_pass(store: Store, said: Callable[[], str]) -> None:
    run = night(store)
    execute(
        store,
        "INSERT INTO verdicts (run_id, kind, passed, tolerance, detail, created_at) "
        f"VALUES ({run.id}, 'parity', 0, 0, '', '2026-03-01')",
    )
    assert said().endswith("; 0 of 1 passed; open: the run of 2026-03-01 02:00Z: a verdict failed")
    night(store)
    assert said().endswith("; 1 of 2 passed; open: nothing")
