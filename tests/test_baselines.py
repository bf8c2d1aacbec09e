"""Baselines: what scheduled runs are judged against, until somebody accepts other bits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from db import scheduled_runs
from db.baselines import add_baseline, baseline, baselines
from db.errors import StoreError, StoreFailedError
from db.query import named_query, run_query
from db.retention import Policy, apply_pruning, prunings
from db.schema import BaselineRow, RunRow
from db.store import Store
from job.schedule.notify import bad_news
from job.training import judge
from job.verdicts.baseline import clear_baseline, judge_baseline, set_baseline
from job.verdicts.fail_on import FailOn
from tests.pruning import OLD, actions, ids, made, prune
from tests.samples import execute, history
from tests.series import judged, night, trained


def accept(store: Store, run: RunRow, reason: str = "new kernel") -> BaselineRow:
    return set_baseline(store, run, reason, "alice")


def fails(store: Store, run: RunRow, on: FailOn = FailOn.drift) -> bool:
    return bool(on.failed(list(judged(store, run).values())))


def stored(store: Store) -> list[tuple[Any, ...]]:
    rows = store.read(lambda session: session.execute(text("SELECT * FROM baselines ORDER BY id")).all())
    return [tuple(row) for row in rows]


@pytest.mark.slow
def test_a_change_fails_every_night_until_it_is_accepted(store: Store) -> None:
    failed: dict[FailOn, list[int]] = {on: [] for on in FailOn}
    for day in range(1, 12):
        run = night(store, bits=int(day >= 5))
        for on in FailOn:
            if fails(store, run, on):
                failed[on].append(day)
        if day == 1:
            accept(store, run)
        if day == 8:
            accept(store, run)
    assert failed == {
        FailOn.drift: [5, 6, 7, 8],
        FailOn.change: [5],
        FailOn.parity: [],
        FailOn.never: [],
    }


@pytest.mark.slow
def test_a_verdict_says_since_which_night_the_bits_have_differed(store: Store) -> None:
    base = trained(store)
    accept(store, base)
    since, told = None, {}
    for bits in np.random.RandomState(1).randint(0, 3, 20).tolist():
        run = night(store, bits)
        verdict = judged(store, run)["baseline"]
        since = None if bits == 0 else since or run
        found = re.match(r"differs since run (\d+) of ([0-9-]+); against run 1: ", verdict.detail)
        assert verdict.passed == (since is None)
        assert (found and found.groups()) == (since and (str(since.id), f"{since.created_at:%Y-%m-%d}"))
        assert (verdict.run_id, verdict.against_run_id, verdict.tolerance) == (run.id, base.id, 0)
        told[run.id] = verdict.id
    for run_id, verdict_id in told.items():  # later runs change nothing
        assert (again := judge_baseline(store, store.run(run_id))) is not None
        assert again.id == verdict_id


def test_since_when_counts_no_other_specification_and_no_unfinished_run(store: Store) -> None:
    accept(store, night(store))
    night(store, 1, seed=1)
    night(store, 1, status="interrupted")
    trained(store, 1)
    first = night(store, 1)
    night(store, 0, seed=1)
    assert judged(store, night(store, 2))["baseline"].detail.startswith(f"differs since run {first.id} of ")


def test_nights_before_the_baseline_do_not_count_as_differing_from_it(store: Store) -> None:
    night(store)
    accept(store, trained(store, 1))
    run = night(store)
    assert judged(store, run)["baseline"].detail.startswith(f"differs since run {run.id} of ")


def test_a_slow_walk_is_seen_against_the_baseline(store: Store) -> None:
    walk = history(5)
    gaps = []
    for day in range(5):
        run = night(store, walk)
        if day == 0:
            accept(store, run)
        else:
            verdicts = judged(store, run)
            gaps.append((verdicts["drift"].worst, verdicts["baseline"].worst))
        walk.train_loss[3] = np.nextafter(walk.train_loss[3], np.float32(9))
    step = float(np.spacing(history(5).train_loss[3]))
    assert gaps == [(step, day * step) for day in range(1, 5)]


def test_two_specifications_have_a_baseline_each(store: Store) -> None:
    one, other = night(store, 1), night(store, 2, seed=7)
    first, second = accept(store, one), accept(store, other)
    assert second.former_run_id is None
    assert [row.id for row in baselines(store)] == [first.id, second.id]
    assert not fails(store, night(store, 1))
    assert not fails(store, night(store, 2, seed=7))
    assert fails(store, night(store, 2))
    new = accept(store, night(store, 3, seed=7))
    assert [row.id for row in baselines(store)] == [first.id, new.id]
    assert (found := baseline(store, one)) is not None
    assert found.id == first.id


def test_without_a_baseline_nothing_is_judged_but_drift(store: Store) -> None:
    first = night(store)
    assert judged(store, night(store)).keys() == {"drift"}
    row = accept(store, first)
    assert judge_baseline(store, first) is None
    assert judged(store, night(store)).keys() == {"drift", "baseline"}
    cleared = clear_baseline(store, row, "moved", "bob")
    assert (cleared.kind, cleared.run_id, cleared.reason, cleared.set_by) == (
        "cleared",
        first.id,
        "moved",
        "bob",
    )
    assert baseline(store, first) is None
    assert baselines(store) == []
    assert judged(store, night(store)).keys() == {"drift"}
    accept(store, first)
    assert [row.run_id for row in baselines(store)] == [first.id]


def test_bits_that_are_accepted_before_they_come_are_no_failure_and_no_news(store: Store) -> None:
    accept(store, night(store))
    accept(store, trained(store, 1))
    run = night(store, 1)
    verdicts = judged(store, run)
    assert not verdicts["drift"].passed
    assert verdicts["baseline"].passed
    assert not fails(store, run)
    (found, _) = scheduled_runs.newest(store)
    assert found.passed
    assert bad_news(found, list(verdicts.values()), FailOn.drift) is None


def test_a_drift_that_is_not_accepted_is_news_every_night_if_it_counts(store: Store) -> None:
    accept(store, night(store))
    told: dict[FailOn, list[str]] = {on: [] for on in FailOn}
    for _ in range(3):
        verdicts = list(judged(store, night(store, 1)).values())
        found = scheduled_runs.newest(store)[0]
        assert not found.passed
        for on in FailOn:
            told[on] += filter(None, [bad_news(found, verdicts, on)])
    assert ["baseline: differs since run 2 of " in news for news in told[FailOn.drift]] == [True] * 3
    assert [("drift: " in news, "baseline: " in news) for news in told[FailOn.change]] == [(True, False)]
    assert told[FailOn.parity] == told[FailOn.never] == []


def test_a_baseline_records_what_differs_from_the_former(store: Store) -> None:
    first = accept(store, night(store, environment={"packages": {"numpy": "2.0"}}), "the start")
    assert [first.former_run_id, first.first_epoch, first.worst, first.environment_changes] == [None] * 4
    moved = history(5)
    moved.test_loss[2] += np.float32(0.5)
    second = accept(store, night(store, moved, environment={"packages": {"numpy": "2.1"}}), "NumPy 2.1")
    assert (second.former_run_id, second.first_epoch) == (first.run_id, 2)
    assert second.worst == abs(float(moved.test_loss[2]) - float(history(5).test_loss[2]))
    assert second.environment_changes == "packages numpy 2.1, was 2.0"
    clear_baseline(store, second, "for a while", "bob")
    same = night(store, moved, environment={"packages": {"numpy": "2.1"}})
    third = accept(store, same, "again")
    assert (third.former_run_id, third.first_epoch, third.worst) == (second.run_id, None, 0)
    assert third.environment_changes == "the same"
    assert (third.kind, third.reason, third.set_by) == ("set", "again", "alice")
    assert third.set_at > first.set_at


def test_what_can_be_no_baseline_is_refused_and_nothing_is_stored(store: Store) -> None:
    good, stopped, thin, old = (
        night(store),
        night(store, status="interrupted"),
        trained(store),
        trained(store),
    )
    accept(store, good)
    execute(
        store,
        f"UPDATE runs SET thinned_every = 2 WHERE id = {thin.id}",
        f"UPDATE models SET digest = NULL WHERE run_id = {old.id} AND name = 'python'",
    )
    before = stored(store)
    for run, why in [
        (good, "is the baseline already, set by alice: new kernel"),
        (stopped, "is interrupted; only a completed run can be a baseline"),
        (thin, "only a whole run can be a baseline"),
        (old, "has no digest of python, so it can be no baseline"),
    ]:
        with pytest.raises(StoreError, match=why):
            accept(store, store.run(run.id))
    assert stored(store) == before


def test_a_run_that_is_pruned_meanwhile_becomes_no_baseline(store: Store) -> None:
    run = night(store)
    execute(store, f"UPDATE runs SET pruning = 'delete' WHERE id = {run.id}")
    with pytest.raises(StoreError, match="half deleted"):
        add_baseline(store, BaselineRow(kind="set", run_id=run.id, reason="why", set_by="alice"))
    assert stored(store) == []


def test_every_run_that_is_or_was_a_baseline_is_kept_whole(store: Store) -> None:
    runs = [made(store) for _ in range(5)]
    accept(store, store.run(runs[0]))
    accept(store, store.run(runs[2]))
    policy: dict[str, Any] = {"keep_nights": 1, "thin_older_than": OLD / 2, "every": 10, "force": True}
    assert actions(store, **policy) == dict(
        zip(runs, ["keep", "delete", "keep", "delete", "keep"], strict=True)
    )
    prune(store, **policy)
    assert ids(store) == [runs[0], runs[2], runs[4]]
    assert [len(store.history(run, "python")) for run in ids(store)] == [40] * 3


def test_a_run_that_became_a_baseline_meanwhile_is_not_pruned(store: Store) -> None:
    runs = [made(store) for _ in range(2)]
    rules = Policy(keep_nights=1, force=True)
    (pruning,) = prunings(store, rules)
    accept(store, store.run(runs[0]))
    assert apply_pruning(store, pruning, rules) is None
    assert store.run(runs[0]).whole


def test_nights_that_only_differ_from_the_baseline_are_pruned(store: Store) -> None:
    nights = [night(store, bits) for bits in (0, 0, 1, 1, 1, 1)]
    accept(store, nights[0])
    for run in nights[1:]:
        judged(store, run)
    prune(store, keep_nights=1)
    assert ids(store) == [nights[i].id for i in (0, 1, 2, 5)]  # the baseline, the drift's two, the newest
    verdict = judged(store, night(store, 1))["baseline"]
    assert verdict.detail.startswith(f"differs since run {nights[2].id} of ")


def test_a_run_by_hand_is_judged_against_neither_the_baseline_nor_a_night(store: Store) -> None:
    accept(store, night(store))
    verdicts = judge(store, trained(store, 1))
    assert [verdict.kind for verdict in verdicts] == ["integrity", "parity"]
    assert [verdict.kind for verdict in judge(store, night(store, 1))][2:] == ["drift", "baseline"]


def test_the_run_of_a_baseline_can_be_neither_deleted_nor_lengthened(store: Store) -> None:
    run = night(store)
    accept(store, run)
    with pytest.raises(StoreError, match="is or was a baseline, so it keeps its 5 epochs"):
        store.resume_run(run.id, epochs=10, environment={})
    with pytest.raises(StoreFailedError, match=r"(?i)foreign key constraint"):
        execute(store, f"DELETE FROM runs WHERE id = {run.id}")
    assert store.run(run.id).status == "completed"


def test_the_query_tells_how_the_numbers_moved_and_who_let_them(store: Store) -> None:
    one, other = night(store), night(store, 1)
    set_baseline(store, one, "the start", "alice")
    last = set_baseline(store, other, "a new kernel", "bob")
    clear_baseline(store, last, "the end", "carol")
    found = run_query(store.url, named_query("baselines").sql)
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert [(row["run"], row["model"], row["kind"]) for row in rows] == [
        (one.id, "paddle", "set"),
        (one.id, "python", "set"),
        (other.id, "paddle", "set"),
        (other.id, "python", "set"),
        (other.id, None, "cleared"),
    ]
    assert [row["set_by"] for row in rows] == ["alice", "alice", "bob", "bob", "carol"]
    assert [row["reason"] for row in rows[1:3]] == ["the start", "a new kernel"]
    for row, run, bits in ((rows[1], one, 0), (rows[3], other, 1)):
        assert row["digest"] == (run.models[1].digest or "")[:12]
        assert (row["train_loss"], row["test_loss"]) == (
            float(history(5, seed=bits).train_loss[-1]),
            float(history(5, seed=bits).test_loss[-1]),
        )
    gap = np.abs(history(5).values.astype(float) - history(5, seed=1).values).max()
    assert [row["largest_change"] for row in rows] == [None, None, gap, gap, None]
    assert [row["first_epoch"] for row in rows] == [None, None, 0, 0, None]
    assert rows[2]["former_run"] == one.id
    assert rows[2]["environment_changes"] == "the same"
