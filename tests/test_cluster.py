"""How a sweep handles Dask's answers. On a real cluster: test_sweep.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from job.data.dataset import load
from job.errors import SchedulerLostError
from job.stop import StopRequest
from job.sweep.cluster import SETTLE, is_elsewhere, load_ahead, outcome, run_all, same
from job.sweep.tasks import Result, Task, run_task


@pytest.mark.parametrize(
    ("host", "elsewhere"), [("127.0.0.1", False), ("localhost", False), ("[::1]", False), ("dask", True)]
)
def test_only_a_scheduler_of_this_machine_shares_its_files(host: str, elsewhere: bool) -> None:
    assert is_elsewhere(f"tcp://{host}:8786") == elsewhere


class Future:
    """A Dask task that has ended."""

    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://a:1"))

    def __init__(self, result: Any = None, error: Exception | None = None, cancelled: bool = False) -> None:
        self.result, self.exception, self.cancelled = (lambda: result), (lambda: error), (lambda: cancelled)

    def add_done_callback(self, announce_verdict: Callable[[Any], None]) -> None:
        announce_verdict(self)


def test_a_task_comes_to_its_result_its_error_or_a_lost_scheduler() -> None:
    assert outcome(Future(result := Result(1, "completed"))) is result
    assert outcome(Future(error=OSError("disk full"))) == Result(None, "failed", "OSError: disk full")
    with pytest.raises(SchedulerLostError, match="the scheduler at tcp://a:1 went away"):
        outcome(Future(cancelled=True))


class Unended(Future):
    def add_done_callback(self, announce_verdict: Callable[[Any], None]) -> None:
        pass


class Client:
    """A Dask client whose tasks end as soon as they are submitted, except those in `never`."""

    def __init__(self, *never: int, workers: bool = True) -> None:
        self.never = never
        self.submitted: list[Any] = []
        self.workers: dict[str, Any] = {"tcp://a:2": {}} if workers else {}

    def scheduler_info(self) -> dict[str, Any]:
        return {"workers": self.workers}

    def submit(self, function: Any, *arguments: Any, **options: Any) -> Any:
        self.submitted.append((function, *arguments, options))
        if function is same:
            return "the data"
        if arguments[0].seed in self.never:
            return Unended()
        return Future(Result(arguments[0].seed, "completed"))


def tasks(count: int) -> list[Task]:
    return [Task("s", seed, 0.01, 50, "sqlite:///x", 1.0, 10.0, "stop s") for seed in range(count)]


@pytest.mark.thorough
def test_every_task_is_submitted_once_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.Event", lambda name, client: None)
    client, dataset = Client(), load()
    told: list[tuple[int, int | None]] = []
    run_all(client, tasks(3), dataset, StopRequest(), lambda task, end: told.append((task.seed, end.run_id)))
    assert told == [(0, 0), (1, 1), (2, 2)]
    assert client.submitted[0] == (same, dataset, {"pure": False})
    assert same(dataset) is dataset
    options = {"pure": False, "retries": 3}
    assert client.submitted[1:] == [(run_task, task, "the data", options) for task in tasks(3)]


@pytest.mark.thorough
def test_a_stop_reaches_the_workers_and_gives_up_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []

    def event(name: str, client: Any) -> Any:
        return SimpleNamespace(set=lambda: events.append((name, client)))

    monkeypatch.setattr("job.sweep.cluster.SETTLE", 0.3)
    monkeypatch.setattr("distributed.Event", event)
    stop = StopRequest()
    told: list[int] = []

    def announce_verdict(task: Task, _: Result) -> None:
        told.append(task.seed)
        stop.set()

    client = Client(0, 2)
    run_all(client, tasks(3), load(), stop, announce_verdict)
    assert told == [1]
    assert events == [("stop s", client)]
    run_all(unused := Client(), tasks(3), load(), stop, announce_verdict)
    assert unused.submitted == []


def test_a_stop_waits_for_no_task_once_the_last_worker_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.Event", lambda name, client: SimpleNamespace(set=lambda: None))
    stop = StopRequest()
    begun = time.monotonic()
    run_all(Client(0, 2, workers=False), tasks(3), load(), stop, lambda *_: stop.set())
    assert time.monotonic() - begun < SETTLE / 2


def test_loading_ahead_changes_no_setting_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", os.environ.copy())
    monkeypatch.setattr("multiprocessing.set_forkserver_preload", lambda modules: None)
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: None)
    load_ahead(["python", "own.py:Own"])
    assert [name for name in os.environ if name.startswith("JOB_") and name != "JOB_NO_MIRROR"] == []
    assert os.environ["LEDGER_PRELOAD"] == "python"
