"""Whichever exchange with the database fails, or is the process's last, the store stays whole and usable."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import func, inspect, select

from db import retention, scheduled_runs
from db.archiving import unarchive
from db.engine import create_store_engine, parse_url
from db.epochs import kept_epochs
from db.integrity import first_fault
from db.migrate import differences
from db.schema import EpochRow, RunRow, ScheduledRunRow, VerdictRow
from db.store import Store
from db.version import current
from job.cli import run as command
from job.data.dataset import load
from job.models.python import PythonModel
from job.training import Settings, loop, resume, start, train_and_judge
from tests.faults import Fault, at_every_point, busy, full, killed, lost, unanswered
from tests.pruning import OLD, made, prune
from tests.samples import history, write_csv
from tests.test_migrations import REVISIONS, load_golden
from tests.test_nights import DAILY, DUE

FAULTS: dict[str, dict[str, Fault]] = {
    "sqlite": {"killed": killed, "busy": busy, "full": full},
    "postgresql": {"killed": killed, "lost": lost, "unanswered": unanswered},
}
PASSING = ("busy", "lost", "unanswered")
"""transient faults; the others end the process"""
EPOCHS = 4
MODELS = ("paddle", "python")
every_fault = pytest.mark.parametrize(
    ("backend", "fault"), [(backend, fault) for backend, faults in FAULTS.items() for fault in faults]
)
"""the faults that each database can have"""
each_state = pytest.mark.parametrize(
    ("backend", "fault"),
    [(backend, fault) for backend, faults in FAULTS.items() for fault in faults if fault != "lost"],
)
"""the faults that leave different states: `lost` leaves what `unanswered` does one exchange before"""
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.retry.LONGEST_PAUSE", 0.0)
    monkeypatch.setenv("JOB_GIT_COMMIT", "of the tests")  # git's processes took a third of the time


@pytest.fixture
def train(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What `job train` and `job resume` do, in two blocks, with NumPy's model in place of Paddle's."""
    monkeypatch.setitem(sys.modules, "job.models.paddle", SimpleNamespace(PaddleModel=PythonModel))
    monkeypatch.setattr(loop, "FIRST_BLOCK", 3)
    dataset = load(write_csv(tmp_path / "made.csv"))

    def work(unfinished: int | None = None) -> None:
        with Store(database_url) as store:
            settings = Settings(dataset, EPOCHS)
            writer = (
                start(store, settings) if unfinished is None else resume(store, unfinished, settings.dataset)
            )
            assert train_and_judge(writer, dataset).verdicts

    return work


def newest_whole(store: Store) -> RunRow:
    """The newest run, which has no gaps and the same bits as the first run."""
    newest = store.run()
    trained = store.progress(newest.id)
    for model, epochs in trained.items():
        assert store.history(newest.id, model).same_bits(store.history(1, model)[:epochs])
    if newest.status == "completed":
        assert trained == dict.fromkeys(MODELS, EPOCHS)
    return newest


@every_fault
def test_a_training_that_meets_a_fault_at_any_exchange_ends_with_the_same_bits(
    fault: str, backend: str, store: Store, train: Callable[..., None]
) -> None:
    train()
    met = 0
    for status in at_every_point(FAULTS[backend][fault], train):
        met += 1
        assert (status == 0) == (fault in PASSING)
        if newest_whole(store).status != "completed":
            assert fault not in PASSING
            train(store.run().id)
        assert newest_whole(store).status == "completed"
    assert met > 20
    assert len(store.runs()) > 10


@each_state
def test_a_pruning_that_meets_a_fault_at_any_exchange_is_ended_by_the_next(
    fault: str, backend: str, store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP", 7)

    def work() -> None:
        with Store(database_url) as own:
            prune(own, keep_nights=1, thin_older_than=OLD / 2, every=5)

    def runs_to_prune() -> tuple[int, int]:
        """A run to be downsampled, and a nightly run whose predecessor is to be deleted."""
        return made(store, trigger="manual", epochs=12), made(store, epochs=12)

    runs_to_prune()
    thin, scheduled_run = runs_to_prune()
    met = 0
    for status in at_every_point(FAULTS[backend][fault], work):
        met += 1
        assert (status == 0) == (fault in PASSING)
        work()
        left = {row.id: row.thinned_every for row in store.runs()}
        assert (left[thin], left[scheduled_run]) == (5, None)
        assert [row.id for row in store.runs() if row.trigger == "nightly"] == [scheduled_run]
        whole = [history(12, seed=thin), history(12, seed=thin + 1000)]  # as `made` makes them
        best = {int(np.argmin(losses)) for own in whole for losses in (own.train_loss, own.test_loss)}
        for model, own in zip(MODELS, whole, strict=True):
            kept = store.history(thin, model)
            assert kept.epoch.tolist() == sorted({0, 5, 10, 11, *best})
            assert kept.parameters.tobytes() == own.parameters[kept.epoch].tobytes()
        thin, scheduled_run = runs_to_prune()
    assert met > 10


@each_state
def test_an_archiving_that_meets_a_fault_at_any_exchange_loses_nothing_and_is_ended_by_the_next(
    fault: str, backend: str, store: Store, database_url: str
) -> None:
    run = made(store, epochs=12)
    whole = {model: store.history(run, model) for model in MODELS}

    def work() -> None:
        with Store(database_url) as own:
            prune(own, archive_older_than=OLD / 2)

    def assert_whole() -> None:
        assert store.progress(run) == dict.fromkeys(MODELS, 12)
        for model, own in whole.items():
            found = store.history(run, model)
            assert found.same_bits(own)
            assert found.trained_at.tobytes() == own.trained_at.tobytes()

    met = 0
    for status in at_every_point(FAULTS[backend][fault], work):
        met += 1
        assert (status == 0) == (fault in PASSING)
        assert_whole()
        work()
        assert_whole()
        assert store.run(run).archived
        left = store.read(lambda session: session.scalar(select(func.count()).select_from(EpochRow)))
        assert left == 2 * len(kept_epochs(whole.values()))
        unarchive(store, run)
    assert met > 10


@each_state
def test_an_unarchiving_that_meets_a_fault_at_any_exchange_loses_nothing(
    fault: str, backend: str, store: Store, database_url: str
) -> None:
    run = made(store, epochs=20)
    whole = {model: store.history(run, model) for model in MODELS}
    prune(store, archive_older_than=OLD / 2)

    def work() -> None:
        with Store(database_url) as own:
            unarchive(own, run)

    met = 0
    for status in at_every_point(FAULTS[backend][fault], work):
        met += 1
        assert (status == 0) == (fault in PASSING)
        if store.run(run).archived:
            assert fault not in PASSING
            unarchive(store, run)
        assert first_fault(store, store.run(run)) is None
        assert all(store.history(run, model).same_bits(own) for model, own in whole.items())
        prune(store, archive_older_than=OLD / 2)
    assert met > 10


@each_state
def test_a_night_that_meets_a_fault_at_any_exchange_is_planned_and_settled_once(
    fault: str, backend: str, store: Store, database_url: str
) -> None:
    met = 0

    def work() -> int:
        with Store(database_url) as own:
            scheduled_run = scheduled_runs.add_due(own, DAILY, DUE + met * timedelta(days=1))
            return 0 if scheduled_runs.settle(own, scheduled_run.id, "missed", "off") else 3

    for status in at_every_point(FAULTS[backend][fault], work):
        assert (status == 0) == (fault in PASSING)
        assert work() in (0, 3)
        met += 1
        assert [scheduled_run.outcome for scheduled_run in scheduled_runs.newest(store)] == ["missed"] * met
    assert met > 5


@pytest.mark.parametrize("backend", FAULTS)
@pytest.mark.parametrize("start", [None, REVISIONS[0]])
def test_a_migration_that_dies_at_any_exchange_has_changed_all_or_nothing(
    start: str | None, empty_url: str
) -> None:
    if start:
        load_golden(start, empty_url)
    lift = ["db", "upgrade", "--database-url", empty_url]
    engine = create_store_engine(parse_url(empty_url))
    met = 0
    for status in at_every_point(killed, lambda: command(lift)):
        met += 1
        assert status == -signal.SIGKILL
        with engine.connect() as connection:
            found = current(connection)
            assert found in (start, REVISIONS[-1])  # the command looks at what it has done
            assert inspect(connection).has_table("scheduled_runs") == (found == REVISIONS[-1])
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()
    assert met > 10
    if start:
        with Store(empty_url) as store:
            assert store.history(1, "paddle").same_bits(history(5))


@pytest.mark.parametrize(("backend", "fault"), [("postgresql", unanswered), ("sqlite", busy)])
def test_a_verdict_or_night_that_meets_a_fault_is_stored_once(
    fault: Fault, store: Store, database_url: str
) -> None:
    run_id = made(store)

    def work() -> None:
        with Store(database_url) as own:
            count = str(len(own.verdicts(run_id)))  # one that says the same as the last is not stored
            own.add_verdict(VerdictRow(run_id=run_id, kind="parity", passed=True, tolerance=0, detail=count))
            scheduled_runs.add_unscheduled(own, ScheduledRunRow(due_at=DUE, status="due"))

    for met, status in enumerate(at_every_point(fault, work), 1):
        assert status == 0
        assert len(store.verdicts(run_id)) == len(scheduled_runs.newest(store)) == met
