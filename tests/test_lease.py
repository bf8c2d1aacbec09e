"""Exactly one process writes to a run; one that has lost the lease writes nothing more."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db import lease
from db.errors import LeaseHeldError, LeaseLostError, StoreError
from db.owner import is_dead, new_token
from db.specification import Specification
from db.store import Store
from tests.samples import ELSEWHERE, execute, history, silence, start


class AtOnce(threading.Event):
    """An event that ends the first wait, and keeps for how long that would have been."""

    waited: float | None = None

    def wait(self, timeout: float | None = None) -> bool:
        self.waited = timeout
        return True


@pytest.mark.parametrize(("timeout", "pause"), [(1, 1 / 3), (4.5, 1.5), (60, 2)])
def test_a_heartbeat_comes_two_times_before_it_is_overdue(
    store: Store, monkeypatch: pytest.MonkeyPatch, timeout: float, pause: float
) -> None:
    monkeypatch.setattr(store, "heartbeat_timeout", timeout)
    ended = AtOnce()
    start(store)._beat(ended)
    assert ended.waited == pytest.approx(pause)


def test_every_block_renews_the_heartbeat(store: Store) -> None:
    writer = start(store)
    before = store.run(writer.run_id).heartbeat_at
    writer.append("paddle", history(1))
    assert store.run(writer.run_id).heartbeat_at > before


def test_a_silent_run_is_crashed_and_a_live_one_is_not(store: Store) -> None:
    silent, live = start(store), start(store)
    silence(store, silent.run_id, 61)
    silence(store, live.run_id, 50)
    store.mark_crashed()
    crashed = store.run(silent.run_id)
    assert (crashed.status, crashed.stop_reason) == ("crashed", "no heartbeat for more than 60 s")
    assert crashed.finished_at == crashed.heartbeat_at
    assert store.run(live.run_id).status == "running"


def test_a_run_that_was_taken_up_after_it_was_seen_to_stall_is_not_marked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = start(store)
    silence(store, writer.run_id, 61)
    seen = store.read(lambda session: lease.stalled_runs(session, 60))
    assert seen
    store.resume_run(writer.run_id, environment={})
    monkeypatch.setattr(lease, "stalled_runs", lambda *_: seen)
    store.write(lambda session, _: lease.mark_crashed(session, 60))
    assert store.run(writer.run_id).status == "running"


def test_a_run_whose_process_died_on_this_machine_is_crashed_at_once(store: Store) -> None:
    writer = start(store)
    child = "from db.owner import new_token; print(new_token())"
    token = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
    execute(store, f"UPDATE runs SET owner = '{token.strip()}'")
    store.mark_crashed()
    crashed = store.run(writer.run_id)
    assert (crashed.status, crashed.stop_reason) == ("crashed", "its process has ended")


def test_a_living_process_is_not_gone_and_a_foreign_one_is_unknown() -> None:
    token = new_token()
    assert not is_dead(token)
    assert is_dead(token.rpartition(":")[0] + ":1")  # a later process has the same number
    for unknown in (None, "", "abc", ELSEWHERE, token.replace("@", "@x")):
        assert not is_dead(unknown)


@pytest.mark.parametrize("status", ["interrupted", "crashed", "failed"])
def test_a_stopped_run_is_taken_up_and_its_old_writer_shut_out(store: Store, status: str) -> None:
    old = start(store)
    old.append("paddle", history(2))
    execute(store, f"UPDATE runs SET status = '{status}', heartbeat_at = '2026-01-01 00:00:00.000'")
    new = store.resume_run(old.run_id, environment={"cpu": "b"})
    run = store.run(old.run_id)
    assert (run.status, run.resumes, run.owner) == ("running", 1, new.token)
    assert run.heartbeat_at >= run.created_at, "any command would mark it as crashed"
    with pytest.raises(LeaseLostError, match="no longer this process's"):
        old.append("paddle", history(1, first_epoch=2))
    with pytest.raises(LeaseLostError, match="no longer this process's"):
        old.finish("completed")
    assert store.progress(old.run_id) == {"paddle": 2}
    new.append("paddle", history(1, first_epoch=2))
    assert store.progress(old.run_id) == {"paddle": 3}


def test_a_resume_records_what_has_changed_in_the_environment(store: Store) -> None:
    writer = start(store, environment={"cpu": "a", "python": "3.11"})
    writer.append("paddle", history(2))
    writer.finish("interrupted")
    store.resume_run(writer.run_id, environment={"cpu": "b", "python": "3.11"})
    environment = store.run(writer.run_id).environment
    assert environment == {
        "cpu": "a",
        "python": "3.11",
        "resumes": [{"epoch": 2, "epochs": {"paddle": 2, "python": 0}, "changed": {"cpu": "b"}}],
    }


def test_a_trainer_that_was_declared_crashed_while_it_stood_still_writes_nothing_more(store: Store) -> None:
    writer = start(store)
    execute(store, "UPDATE runs SET status = 'crashed'")
    with pytest.raises(LeaseLostError):
        writer.append("paddle", history(1))
    assert store.progress(writer.run_id) == {}
    assert store.run(writer.run_id).status == "crashed"


def test_a_live_run_is_not_taken_from_its_trainer(store: Store) -> None:
    writer = start(store)
    stop = threading.Event()

    def beat() -> None:
        epoch = 0
        while not stop.wait(0.05):
            writer.append("paddle", history(1, first_epoch=epoch))
            epoch += 1

    trainer = threading.Thread(target=beat)
    trainer.start()
    try:
        with pytest.raises(StoreError, match="is being trained by another process"):
            store.resume_run(writer.run_id, environment={})
    finally:
        stop.set()
        trainer.join()
    writer.finish("completed")


@pytest.mark.parametrize("dead", [False, True])
def test_a_new_heartbeat_shows_that_the_holder_lives_unless_its_process_has_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    ages = iter((5.0, 1.0))

    def work(*_: object) -> str:
        for age in ages:
            raise lease.StillHeldError(1, ELSEWHERE, age)
        return "acquired"

    monkeypatch.setattr(lease, "is_dead", lambda owner: dead)
    monkeypatch.setattr(store.stop, "wait", lambda _: False)
    if dead:
        assert lease.acquire(store, work) == "acquired"
    else:
        with pytest.raises(LeaseHeldError, match="run 1 is being trained by another process"):
            lease.acquire(store, work)


@pytest.mark.parametrize(("age", "lines"), [(2.9, 0), (3.1, 1)])
def test_an_overdue_heartbeat_is_said_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, age: float, lines: int
) -> None:
    said: list[str] = []
    store.log_line = said.append
    ages = iter((age, age + 0.5))

    def work(*_: object) -> None:
        for overdue in ages:
            raise lease.StillHeldError(1, ELSEWHERE, overdue)

    monkeypatch.setattr(store.stop, "wait", lambda _: False)
    lease.acquire(store, work)
    assert len(said) == lines


def test_whoever_waits_for_a_run_knows_its_holder_and_the_age_of_the_heartbeat(store: Store) -> None:
    run = store.run(start(store).run_id)
    silence(store, run.id, 7)  # with the holder ELSEWHERE
    held = store.read(lambda session: lease.still_held(session, store.run(run.id)))
    assert (held.run_id, held.owner) == (run.id, ELSEWHERE)
    assert held.heartbeat_age >= 7


def test_who_asks_for_crashes_does_not_wait_for_a_writer_that_stands_still(database_url: str) -> None:
    with Store(database_url) as frozen, Store(database_url) as other:
        run_id = start(frozen).run_id
        silence(frozen, run_id, 61)
        locked, thawed = threading.Event(), threading.Event()

        def stand_still(session: Session, attempt: int) -> None:
            session.execute(text(f"UPDATE runs SET resumes = resumes WHERE id = {run_id}"))
            locked.set()
            assert thawed.wait(60)

        writing = threading.Thread(target=lambda: frozen.write(stand_still))
        writing.start()
        assert locked.wait(30)
        asking = threading.Thread(target=other.mark_crashed, daemon=True)
        asking.start()
        asking.join(20)
        waits = asking.is_alive()
        thawed.set()
        writing.join()
        assert not waits
        assert other.run(run_id).status == "running"
        other.mark_crashed()
        assert other.run(run_id).status == "crashed"


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_writer_may_stand_still_for_half_a_minute_and_a_reader_for_as_long_as_it_likes(
    store: Store,
) -> None:
    asked = text("SHOW idle_in_transaction_session_timeout")
    before = store.read(lambda session: session.scalar(asked))
    assert store.write(lambda session, _: session.scalar(asked)) == "30s"
    assert store.read(lambda session: session.scalar(asked)) == before


@pytest.mark.parametrize("backend", ["postgresql"])  # on SQLite, a live process keeps its lock
def test_a_writer_that_stands_still_in_mid_transaction_loses_its_locks_and_tries_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.backends.postgresql.IDLE_TIMEOUT", 1)
    writer = start(store)
    attempts = []

    def stand_still_once(session: Session, attempt: int) -> None:
        attempts.append(attempt)
        session.execute(text("UPDATE runs SET resumes = resumes + 1"))
        if attempt == 1:
            time.sleep(2.5)

    store.write(stand_still_once)
    assert attempts == [1, 2]
    assert store.run(writer.run_id).resumes == 1


def test_a_run_of_a_dead_trainer_elsewhere_is_taken_up_once_it_was_silent_long_enough(
    database_url: str,
) -> None:
    lines: list[str] = []
    with Store(database_url, heartbeat_timeout=4.5, log_line=lines.append) as store:
        writer = start(store)
        silence(store, writer.run_id, 4)
        store.resume_run(writer.run_id, environment={})
        assert store.run(writer.run_id).resumes == 1
    assert ["no heartbeat for 4 s; waiting until 4.5 s" in line for line in lines] == [True]


def test_a_stop_ends_the_wait_for_a_trainer_that_may_be_dead(database_url: str) -> None:
    stop = threading.Event()
    with Store(database_url, stop=stop) as store:
        run_id = start(store).run_id
        silence(store, run_id, 30)
        stop.set()
        with pytest.raises(StoreError, match=f"^stopped while waiting for run {run_id}$"):
            store.resume_run(run_id, environment={})
        assert store.run(run_id).owner == ELSEWHERE


@pytest.mark.slow
def test_of_many_that_resume_at_once_exactly_one_wins(database_url: str) -> None:
    with Store(database_url) as store:
        run_id = start(store).run_id
        execute(store, "UPDATE runs SET status = 'crashed'")
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def contend() -> None:
        with Store(database_url) as mine:
            barrier.wait()
            try:
                writer = mine.resume_run(run_id, environment={})
            except StoreError as error:
                outcomes.append(str(error))
                return
            epoch = 0
            while len(outcomes) < 5:  # it lives as long as the others ask
                writer.append("paddle", history(1, first_epoch=epoch))
                epoch += 1
                threading.Event().wait(0.05)
            outcomes.append("won")

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refusal = f"run {run_id} is being trained by another process; leave it to that one"
    assert sorted(outcomes) == [refusal] * 5 + ["won"]
    with Store(database_url) as store:
        assert store.run(run_id).resumes == 1


@pytest.mark.parametrize(
    ("status", "epochs", "message"),
    [
        ("completed", None, "is complete with 10 epochs; --epochs N lengthens it"),
        ("completed", 10, "is complete"),
        ("completed", 2, "is to have 10 epochs; --epochs only lengthens it"),
        ("interrupted", 9, "is to have 10 epochs; --epochs only lengthens it"),
        ("diverged", None, "diverged"),
    ],
)
def test_what_cannot_be_taken_up_is_refused(
    store: Store, status: str, epochs: int | None, message: str
) -> None:
    writer = start(store)
    writer.append("paddle", history(3))
    writer.finish(status, "at epoch 3")
    with pytest.raises(StoreError, match=message):
        store.resume_run(writer.run_id, epochs=epochs, environment={})
    assert store.run(writer.run_id).status == status


def test_a_completed_run_can_be_lengthened(store: Store) -> None:
    writer = start(store)
    writer.finish("completed")
    store.resume_run(writer.run_id, epochs=20, environment={})
    assert (store.run(writer.run_id).epochs, store.run(writer.run_id).status) == (20, "running")


def test_a_history_with_holes_cannot_be_continued(store: Store) -> None:
    writer = start(store)
    writer.append("paddle", history(5))
    execute(store, "DELETE FROM epochs WHERE epoch IN (1, 2)")
    with pytest.raises(StoreError, match="lacks 2 epochs of paddle before epoch 4"):
        store.checkpoints(writer.run_id)


@pytest.mark.parametrize("backend", ["postgresql"])  # SQLite has only one write transaction
def test_of_two_that_start_one_combination_of_a_sweep_at_once_one_wins(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sees the other's run unless it waits for the other's transaction to end."""
    start(store).finish("completed")  # stores the dataset
    real = Specification.runs
    looking = threading.Barrier(2)

    def runs(self: Specification) -> object:
        with suppress(threading.BrokenBarrierError):  # the second waits for the first to end
            looking.wait(3)
        return real(self)

    monkeypatch.setattr(Specification, "runs", runs)
    outcomes: list[str] = []

    def contend() -> None:
        with Store(database_url) as mine:
            try:
                outcomes.append(f"started {start(mine, sweep='one', trigger='sweep').run_id}")
            except LeaseHeldError as error:
                outcomes.append(str(error))

    threads = [threading.Thread(target=contend) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["started 2", "sweep one has run 2 of these settings already"]


def test_a_process_that_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the mount option hidepid, for users who may not signal it either."""
    token = new_token()

    def forbidden(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr("db.owner._stat", lambda pid: ("", ""))
    assert is_dead(token)
    monkeypatch.setattr(os, "kill", forbidden)
    assert not is_dead(token)


def test_a_zombie_of_another_user_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError

    prints = "from db.owner import new_token; print(new_token())"
    with subprocess.Popen([sys.executable, "-c", prints], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        token = child.stdout.read().strip()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # now it is a zombie
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", forbidden)
            assert is_dead(token)
