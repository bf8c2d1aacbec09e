"""A run is alive as long as its process is, however slow its model."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from db.errors import LeaseHeldError, LeaseLostError
from db.history import History
from db.lease import RunWriter
from db.owner import is_alive, is_dead, new_token
from db.store import Store
from job.data.dataset import load
from job.models.base import LinearRegression
from job.stop import StopRequest
from job.training import train_run
from tests.samples import ELSEWHERE, execute, history, start

pytestmark = pytest.mark.slow


class Slow(LinearRegression):
    """A model whose epochs take longer than the heartbeat timeout."""

    def __init__(self, *_: object) -> None:
        self.epoch = 0

    def advance(self, epochs: int) -> History:
        time.sleep(3.5 * epochs)
        made = history(epochs, 13, self.epoch)
        self.epoch += epochs
        return made


@pytest.fixture
def slow_store(database_url: str) -> Iterator[Store]:
    with Store(database_url, heartbeat_timeout=1) as opened:
        yield opened


def held_elsewhere(store: Store) -> RunWriter:
    """The writer of a new run whose process is not visible from here."""
    writer = start(store, epochs=2)
    execute(store, f"UPDATE runs SET owner = '{ELSEWHERE}' WHERE id = {writer.run_id}")
    return RunWriter(store, writer.run_id, ELSEWHERE)


def test_a_model_that_sleeps_keeps_its_run(
    slow_store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.training.load_models", lambda *_: {"paddle": Slow, "python": Slow})
    writer = held_elsewhere(slow_store)
    ended = threading.Event()
    seen: list[str] = []

    def look() -> None:
        with Store(database_url, heartbeat_timeout=2.5) as other:
            while not ended.wait(0.2):
                other.mark_crashed()
                seen.append(other.run(writer.run_id).status)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        outcome = train_run(writer, load(), lambda *_: None, StopRequest())
    finally:
        ended.set()
        watcher.join()
    assert outcome.status == "completed"
    assert len(seen) > 3
    assert "crashed" not in seen
    assert slow_store.progress(writer.run_id) == {"paddle": 2, "python": 2}


def test_blocks_that_come_often_are_heartbeats_enough(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(Store, "__init__", lambda *details, **_: opened.append(details))
    writer = start(store)
    with writer.beating():
        for epoch in range(10):
            time.sleep(0.3)
            writer.append("python", history(1, 3, epoch))
    assert opened == []


def test_the_heartbeat_ends_with_the_training(slow_store: Store) -> None:
    writer = held_elsewhere(slow_store)
    before_it = set(threading.enumerate())
    with writer.beating():
        time.sleep(1)
    deadline = time.monotonic() + 30
    while set(threading.enumerate()) != before_it:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    writer.finish("interrupted")
    before = slow_store.run(writer.run_id)
    time.sleep(1)
    after = slow_store.run(writer.run_id)
    assert (after.heartbeat_at, after.status, after.owner) == (before.heartbeat_at, "interrupted", None)


def test_a_heartbeat_takes_nothing_back_that_another_has_taken(slow_store: Store) -> None:
    writer = held_elsewhere(slow_store)
    with writer.beating():
        execute(slow_store, "UPDATE runs SET owner = 'somebody@else/x/1:1:1'")
        time.sleep(1)
        assert slow_store.run(writer.run_id).owner == "somebody@else/x/1:1:1"
        with pytest.raises(LeaseLostError):
            writer.append("python", history(1))


def test_a_run_is_not_crashed_while_its_process_is_seen_to_live(store: Store) -> None:
    writer = start(store)
    execute(store, "UPDATE runs SET heartbeat_at = '2020-01-01 00:00:00'")  # by another clock
    store.mark_crashed()
    assert store.run(writer.run_id).status == "running"
    execute(store, f"UPDATE runs SET owner = '{ELSEWHERE}'")
    store.mark_crashed()
    assert store.run(writer.run_id).status == "crashed"


def test_a_live_nightly_is_not_pushed_aside_by_another_clock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "heartbeat_timeout", 1)
    start(store, trigger="nightly")
    execute(store, "UPDATE runs SET heartbeat_at = '2020-01-01 00:00:00'")
    with pytest.raises(LeaseHeldError, match="one nightly run at a time"):
        start(store, trigger="nightly")


def test_a_process_that_is_stopped_is_not_seen_to_live() -> None:
    child = "from db.owner import new_token; print(new_token(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    token = process.stdout.readline().strip()

    def states() -> tuple[bool, bool]:
        return is_alive(token), is_dead(token)

    assert states() == (True, False)
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while states() != (False, False):
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGCONT)
    while states() != (True, False):
        assert time.monotonic() < deadline
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
    while states() != (False, True):  # a zombie until its exit status is read
        assert time.monotonic() < deadline
    process.communicate()
    assert states() == (False, True)


def test_only_a_process_of_this_machine_is_seen_to_live() -> None:
    token = new_token()
    assert is_alive(token)
    for unknown in (None, "", "abc", ELSEWHERE, token.replace("@", "@x"), token + "1"):
        assert not is_alive(unknown)
