"""Scheduled runs in the store: planned once, settled once, one at a time, compared with the right one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import scheduled_runs as nights
from db.errors import LeaseHeldError, NotFoundError
from db.lease import RunWriter
from db.query import named_query, run_query
from db.schema import RunRow, ScheduledRunRow, VerdictRow
from db.store import Store
from job.schedule.notify import bad_news
from job.verdicts.drift import judge_drift
from job.verdicts.fail_on import FailOn
from tests.faults import lost_commit
from tests.samples import dataset_row, execute, history, set_times, silence
from tests.series import night

DUE = datetime(2026, 1, 2, 2, 0, tzinfo=UTC)
DAILY = "0 2 * * * UTC"


def start(store: Store, scheduled_run: int | None = None, **settings: Any) -> RunWriter:
    values: dict[str, Any] = {"epochs": 5, "learning_rate": 0.1, "seed": 0, "trigger": "nightly"}
    return store.start_run(dataset_row(), scheduled_run=scheduled_run, environment={}, **values | settings)


def complete(store: Store, **settings: Any) -> int:
    writer = start(store, **settings)
    writer.append("paddle", history(5))
    writer.finish("completed")
    return writer.run_id


@contextmanager
def beating(writer: RunWriter) -> Iterator[None]:
    """A live trainer: it stores an epoch now and then."""
    done = threading.Event()

    def train() -> None:
        epoch = 0
        while not done.wait(0.1):
            writer.append("paddle", history(1, first_epoch=epoch))
            epoch += 1

    thread = threading.Thread(target=train)
    thread.start()
    yield
    done.set()
    thread.join()


def test_a_night_is_planned_once(store: Store) -> None:
    first = nights.add_due(store, DAILY, DUE)
    assert nights.add_due(store, DAILY, DUE.astimezone()).id == first.id
    assert (first.status, first.due_at) == ("due", DUE)
    later = nights.add_due(store, DAILY, DUE + timedelta(days=1))
    assert later.id != first.id
    planned = nights.planned(store, DAILY)
    assert planned is not None
    assert planned.id == first.id
    assert nights.planned(store, "other") is None
    nights.settle(store, first.id, "missed")
    assert (planned := nights.planned(store, DAILY)) is not None
    assert planned.id == later.id


def test_nights_that_were_due_by_a_moment_come_in_order(store: Store) -> None:
    ids = [nights.add_due(store, DAILY, DUE + timedelta(days=days)).id for days in (2, 1, 0, 3)]
    nights.add_due(store, "other", DUE)
    assert [row.id for row in nights.due_until(store, DAILY, DUE + timedelta(days=2))] == ids[2::-1]
    nights.settle(store, ids[1], "skipped")
    assert [row.id for row in nights.due_until(store, DAILY, DUE + timedelta(days=2))] == [
        ids[2],
        ids[0],
    ]


def test_a_night_is_settled_once(store: Store) -> None:
    row = nights.add_due(store, DAILY, DUE)
    assert nights.settle(store, row.id, "missed", "nobody there")
    assert not nights.settle(store, row.id, "failed", "too late")
    found = nights.find(store, row.id)
    assert (found.outcome, found.row.detail) == ("missed", "nobody there")


def test_a_night_that_was_settled_before_the_answer_was_lost_is_settled_by_us(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = nights.add_due(store, DAILY, DUE)
    answers: list[bool] = []
    lost_commit(store, monkeypatch, lambda: answers.append(nights.settle(store, row.id, "missed", "off")))
    lost_commit(store, monkeypatch, lambda: answers.append(nights.settle(store, row.id, "failed", "late")))
    assert answers == [True, False]
    assert nights.find(store, row.id).row.detail == "off"


def test_a_run_begins_its_night(store: Store) -> None:
    row = nights.add_due(store, DAILY, DUE)
    writer = start(store, row.id)
    found = nights.find(store, row.id)
    assert found.run is not None
    assert (found.run.id, found.outcome, found.seconds) == (writer.run_id, "running", None)
    writer.finish("completed")
    found = nights.find(store, row.id)
    assert found.outcome == "completed"
    assert (run := found.run) is not None
    assert found.seconds is not None
    assert found.seconds * timedelta(seconds=1) == run.finished_at - run.created_at  # type: ignore[operator]
    assert found.seconds < 60


def test_a_night_that_another_process_has_gets_no_run(store: Store) -> None:
    row = nights.add_due(store, DAILY, DUE)
    nights.settle(store, row.id, "skipped", "taken")
    with pytest.raises(LeaseHeldError, match="is no longer due: another process started it"):
        start(store, row.id)
    assert store.runs() == []


def test_a_second_nightly_run_is_refused_while_one_lives(store: Store) -> None:
    writer = start(store)
    with beating(writer):
        with pytest.raises(LeaseHeldError, match=r"one nightly run at a time: run 1 is being trained"):
            start(store)
        start(store, trigger="manual")  # other triggers may
    writer.finish("completed")
    start(store)


def test_a_nightly_run_whose_trainer_is_silent_does_not_block_the_next(database_url: str) -> None:
    said: list[str] = []
    with Store(database_url, heartbeat_timeout=4, log_line=said.append) as store:
        first = start(store)
        silence(store, first.run_id, 3.5)
        second = start(store)
        assert (store.run(first.run_id).status, second.run_id) == ("crashed", 2)
    assert "marked as running, but has had no heartbeat for" in said[0]


def test_the_night_before_is_the_last_whole_one_of_the_same_specification(store: Store) -> None:
    first = complete(store)
    wanted = complete(store)
    complete(store, seed=1)
    complete(store, learning_rate=0.2)
    complete(store, epochs=6)
    complete(store, trigger="manual")
    thinned = complete(store)
    execute(store, f"UPDATE runs SET thinned_every = 2 WHERE id = {thinned}")
    start(store).finish("interrupted")
    tonight = store.run(complete(store))
    complete(store)
    assert (found := nights.night_before(store, tonight)) is not None
    assert found.id == wanted
    assert nights.night_before(store, store.run(first)) is None


def test_nights_are_listed_with_their_runs_and_their_own_verdict(store: Store) -> None:
    planned = nights.add_due(store, DAILY, DUE + timedelta(days=2))
    missed = nights.add_due(store, DAILY, DUE)
    nights.settle(store, missed.id, "missed", "off")
    ran = nights.add_unscheduled(store, ScheduledRunRow(due_at=DUE + timedelta(days=1), status="due"))
    run = complete(store, scheduled_run=ran.id)
    before, after, other = complete(store), complete(store), complete(store, trigger="manual")
    store.add_verdict(VerdictRow(run_id=run, kind="parity", passed=False, tolerance=0, detail=""))
    for against, tolerance, passed in [
        (after, 0, False),
        (other, 0, False),
        (None, 0.1, False),
        (None, 0, True),  # its own: the first against an earlier nightly run
        (None, 0, False),
    ]:
        values = {"run_id": run, "kind": "drift", "against_run_id": against, "detail": ""}
        store.add_verdict(VerdictRow(**values, tolerance=tolerance, passed=passed))
    assert before < after
    found = nights.newest(store)
    assert [scheduled_run.row.id for scheduled_run in found] == [planned.id, ran.id, missed.id]
    assert [scheduled_run.outcome for scheduled_run in found] == ["due", "completed", "missed"]
    assert [scheduled_run.drift.passed if scheduled_run.drift else None for scheduled_run in found] == [
        None,
        True,
        None,
    ]
    assert len(nights.newest(store, 2)) == 2


def test_the_night_of_a_pruned_run_stays_on_record(store: Store) -> None:
    row = nights.add_unscheduled(store, ScheduledRunRow(due_at=DUE, status="due"))
    run = complete(store, scheduled_run=row.id)
    execute(store, f"DELETE FROM runs WHERE id = {run}")
    assert nights.find(store, row.id).outcome == "pruned"


def test_a_new_schedule_replaces_what_the_old_one_planned(store: Store) -> None:
    past = nights.add_due(store, DAILY, DUE)
    future = nights.add_due(store, DAILY, datetime.now(UTC) + timedelta(days=1))
    own = nights.add_due(store, "0 3 * * * UTC", DUE)
    external = nights.add_unscheduled(store, ScheduledRunRow(due_at=DUE, status="due"))
    earlier = nights.add_due(store, DAILY, DUE - timedelta(days=1))
    skipped = nights.add_due(store, DAILY, DUE - timedelta(days=2))
    nights.settle(store, skipped.id, "skipped")
    assert [row.id for row in nights.replace_schedules(store, "0 3 * * * UTC")] == [
        earlier.id,
        past.id,
    ]
    found = nights.find(store, past.id)
    assert (found.outcome, found.row.detail) == ("missed", "its schedule was replaced by 0 3 * * * UTC")
    assert nights.find(store, skipped.id).outcome == "skipped"
    assert nights.find(store, own.id).outcome == "due"
    assert nights.find(store, external.id).outcome == "due"
    with pytest.raises(NotFoundError, match="there is no scheduled run"):
        nights.find(store, future.id)


def test_a_night_is_overdue_by_the_clock_of_the_database(store: Store) -> None:
    now = datetime.now(UTC)
    late = nights.add_due(store, DAILY, now - timedelta(minutes=2))
    nights.add_unscheduled(
        store, ScheduledRunRow(due_at=now - timedelta(minutes=2), status="due")
    )  # has no schedule
    nights.add_due(store, DAILY, now + timedelta(minutes=2))
    later = nights.add_due(store, "other", now - timedelta(seconds=90))
    settled = nights.add_due(store, DAILY, now - timedelta(minutes=3))
    nights.settle(store, settled.id, "missed")
    assert [row.id for row in nights.overdue(store, 60)] == [late.id, later.id]
    assert nights.overdue(store, 600) == []


def test_a_night_of_no_schedule_whose_process_died_is_settled_by_the_next(store: Store) -> None:
    now = datetime.now(UTC)
    rows = [
        nights.add_unscheduled(store, ScheduledRunRow(due_at=now - timedelta(hours=hours), status="due"))
        for hours in (2, 0)
    ]
    scheduled = nights.add_due(store, DAILY, now - timedelta(hours=2))
    ran = nights.add_unscheduled(store, ScheduledRunRow(due_at=now - timedelta(hours=3), status="due"))
    complete(store, scheduled_run=ran.id)
    nights.give_up_unscheduled(store, 3600)
    found = [nights.find(store, row.id).outcome for row in (*rows, scheduled, ran)]
    assert found == ["failed", "due", "due", "completed"]
    assert nights.find(store, rows[0].id).row.detail == "its process ended before a run began"


def test_two_schedulers_that_plan_a_night_at_once_plan_the_same(database_url: str) -> None:
    together, ids = threading.Barrier(2), []

    def plan() -> None:
        with Store(database_url, create=True) as own:
            for day in range(20):
                together.wait()
                ids.append(nights.add_due(own, DAILY, DUE + timedelta(days=day)).id)

    Store(database_url, create=True).close()
    threads = [threading.Thread(target=plan) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ids) == 40
    assert len(set(ids)) == 20


def test_the_query_says_of_every_night_what_the_list_says(store: Store) -> None:
    first = complete(store, scheduled_run=nights.add_due(store, DAILY, DUE).id)
    second = complete(store, scheduled_run=nights.add_due(store, DAILY, DUE + timedelta(days=1)).id)
    missed = nights.add_due(store, DAILY, DUE + timedelta(days=2))
    nights.settle(store, missed.id, "missed", "nobody was there")
    twin = nights.add_unscheduled(store, ScheduledRunRow(due_at=missed.due_at, status="due"))
    # The second is its own; those of `job compare`, before and since, are not.
    for against, tolerance, passed in [(second, 1, False), (first, 0, True), (first, 1, False)]:
        values = {"run_id": second, "against_run_id": against, "kind": "drift", "detail": "", "worst": 0}
        store.add_verdict(VerdictRow(**values, tolerance=tolerance, passed=passed))
    for run, passed in ((first, True), (second, True), (second, False)):  # the last one counts
        store.add_verdict(VerdictRow(run_id=run, kind="baseline", tolerance=0, passed=passed, detail=""))
    found = run_query(store.url, named_query("nights").sql)
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    expected = nights.newest(store)
    assert [row["night"] for row in rows] == [scheduled_run.row.id for scheduled_run in expected]
    assert [row["night"] for row in rows][:2] == [twin.id, missed.id]
    assert [row["outcome"] for row in rows] == [scheduled_run.outcome for scheduled_run in expected]
    assert [row["drift"] for row in rows] == [None, None, "same bits", None]
    assert [row["against_run"] for row in rows] == [None, None, first, None]
    assert [row["baseline"] for row in rows] == [None, None, "DIFFERS", "same bits"]
    assert [row["why"] for row in rows] == [None, "nobody was there", None, None]


def test_the_query_has_the_times_of_a_run_its_own_drift_and_what_was_pruned(store: Store) -> None:
    run = complete(store, scheduled_run=nights.add_due(store, DAILY, DUE).id)
    began, ended = DUE, DUE + timedelta(minutes=10)
    set_times(store, run, created_at=began, heartbeat_at=DUE + timedelta(minutes=5), finished_at=ended)
    for kind, epoch, gap in (("drift", 3, 0.25), ("baseline", 1, 8.0)):
        values = {"run_id": run, "kind": kind, "tolerance": 0, "passed": False, "detail": ""}
        store.add_verdict(VerdictRow(**values, first_epoch=epoch, worst=gap))
    gone = complete(store, scheduled_run=nights.add_due(store, DAILY, DUE - timedelta(days=1)).id)
    execute(store, f"DELETE FROM runs WHERE id = {gone}")
    found = run_query(store.url, named_query("nights").sql)
    row, pruned = (dict(zip(found.columns, row, strict=True)) for row in found.rows)
    assert [str(row[name])[:19] for name in ("began", "ended")] == [str(began)[:19], str(ended)[:19]]
    assert (row["first_epoch"], row["largest_gap"]) == (3, 0.25)
    assert (pruned["outcome"], pruned["run"], pruned["began"]) == ("pruned", None, None)


def test_a_night_that_drifts_back_says_to_which_run(store: Store) -> None:
    told = []
    for seed in (0, 0, 1, 1, 0, 2, 1, 2):
        row = nights.add_unscheduled(store, ScheduledRunRow(due_at=DUE, status="due"))
        writer = start(store, trigger="nightly", scheduled_run=row.id)
        writer.append("paddle", history(5, seed=seed))
        writer.finish("completed")
        verdict = judge_drift(store, store.run(writer.run_id))
        again = judge_drift(store, store.run(writer.run_id))
        assert (again and again.id) == (verdict and verdict.id)
        told.append(verdict and (verdict.passed, verdict.detail.split(":")[0]))
        news = bad_news(nights.find(store, row.id), store.verdicts(writer.run_id), FailOn.drift)
        known = verdict is None or verdict.passed or verdict.detail.startswith("back to")
        assert (news is None) == known
        if verdict is not None and not known:
            assert f"drift: {verdict.detail}" in (news or "")
    assert told == [
        None,
        (True, "against run 1"),
        (False, "against run 2"),
        (True, "against run 3"),
        (False, "back to the bits of run 2; against run 4"),
        (False, "against run 5"),
        (False, "against run 6"),
        (False, "back to the bits of run 6; against run 7"),
    ]


def test_what_job_compare_finds_is_no_drift_that_a_night_could_be_back_from(store: Store) -> None:
    by_hand = complete(store, trigger="manual")
    older, first, drifted, same = (night(store, bits) for bits in (0, 0, 1, 1))
    for run in (first, drifted, same):
        judge_drift(store, run)
    later = night(store, 1)
    for about, against, tolerance in [(drifted, older.id, 0.5), (same, by_hand, 0), (drifted, later.id, 0)]:
        values = {"run_id": about.id, "against_run_id": against, "tolerance": tolerance}
        store.add_verdict(VerdictRow(**values, kind="drift", passed=False, detail="by hand"))
    parity = {"run_id": same.id, "against_run_id": drifted.id, "kind": "parity", "tolerance": 0}
    store.add_verdict(VerdictRow(**parity, passed=False, detail="of another kind"))
    assert (found := nights.before_drift(store, night(store, 0))) is not None
    assert found.id == first.id


def test_no_night_is_back_to_the_bits_of_a_downsampled_run(store: Store) -> None:
    for bits in (0, 1):
        judge_drift(store, night(store, bits))
    execute(store, "UPDATE runs SET thinned_every = 2 WHERE id = 1")
    verdict = judge_drift(store, night(store, 0))
    assert verdict is not None
    assert verdict.detail.startswith("against run 2: ")


@pytest.mark.parametrize(
    ("scheduled_run", "run", "result", "news"),
    [
        ("missed", None, "missed", "the scheduled run of 2026-01-02 02:00Z was missed: why"),
        ("failed", None, "failed", "the scheduled run of 2026-01-02 02:00Z failed: why"),
        ("skipped", None, "skipped", None),
        ("started", "failed", "failed", "the scheduled run of 2026-01-02 02:00Z, run 1, failed: so"),
        ("started", "diverged", "failed", "the scheduled run of 2026-01-02 02:00Z, run 1, diverged: so"),
        ("started", "crashed", "failed", "the scheduled run of 2026-01-02 02:00Z, run 1, crashed: so"),
        ("started", "interrupted", "skipped", None),
        ("started", None, "skipped", None),  # its run was pruned
        ("started", "completed", "passed", None),
    ],
)
def test_what_went_wrong_is_news_and_a_stop_is_none(
    scheduled_run: str, run: str | None, result: str, news: str | None
) -> None:
    row = ScheduledRunRow(due_at=DUE, status=scheduled_run, detail="why")
    own = run and RunRow(id=1, status=run, stop_reason="so")
    found = nights.ScheduledRun(row, own or None, None)
    assert found.result == result
    passed = VerdictRow(kind="parity", passed=True, detail="near")
    assert bad_news(found, [passed], FailOn.drift) == news
    if run == "completed":
        failed = [VerdictRow(kind=kind, passed=False, detail="far") for kind in ("parity", "drift")]
        told = "the scheduled run of 2026-01-02 02:00Z, run 1: parity: far; drift: far"
        assert bad_news(found, [passed, *failed], FailOn.drift) == told
