"""Sweeps: every combination once, whichever process trains it, whatever is killed, with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.database import summaries
from db.errors import LeaseHeldError, NotFoundError
from db.schema import VerdictRow
from db.store import Store
from db.sweeps import runs_of
from job.cli import run as command
from job.data.dataset import DEFAULT_DATA, Dataset, load
from job.errors import SweepError
from job.stop import StopRequest
from job.sweep.cluster import client_of, run_all
from job.sweep.tasks import Result, Task, run_task
from job.verdicts.drift import compare
from tests.conftest import Job, job_command
from tests.samples import execute, write_csv

Output = pytest.CaptureFixture[str]


def never() -> bool:
    return False


def task(url: str, seed: int = 0, rate: float = 0.01, epochs: int = 50, name: str = "s") -> Task:
    return Task(name, seed, rate, epochs, url, heartbeat_timeout=1.0, database_timeout=10.0, stop="never")


@pytest.fixture(scope="module")
def housing() -> Dataset:
    return load(DEFAULT_DATA)


# -- one combination ---------------------------------------------------------------------------------------


def test_a_combination_is_trained_once(database_url: str, housing: Dataset) -> None:
    first = run_task(task(database_url), housing, never)
    assert (first.status, first.trained, first.good) == ("completed", True, True)
    assert first.seconds > 0
    with Store(database_url) as store:
        assert [verdict.kind for verdict in store.verdicts(store.run().id)] == [
            "integrity",
            "parity",
            "exact",
            "exact",
        ]
    again = run_task(task(database_url), housing, never)
    assert (again.run_id, again.status, again.trained) == (first.run_id, "completed", False)
    others = [task(database_url, seed=1), task(database_url, rate=0.02), task(database_url, name="t")]
    assert len({run_task(other, housing, never).run_id for other in others} | {first.run_id}) == 4
    with Store(database_url) as store:
        rows = runs_of(store, "s")
        assert [(run.trigger, run.sweep) for run in rows] == [("sweep", "s")] * 3
        assert {v.kind for v in store.verdicts(rows[0].id)} == {"integrity", "parity", "exact"}
        with pytest.raises(NotFoundError, match="there are s, t"):
            runs_of(store, "nope")


def trained(url: str) -> bool:
    """Whether the newest run has epochs."""
    with Store(url) as store:
        return bool(store.runs() and store.progress(store.run().id))


@pytest.mark.slow
def test_an_interrupted_combination_goes_on_to_the_same_bits(
    database_url: str, housing: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("job.sweep.tasks.POLL", 0.02)
    part = run_task(task(database_url, epochs=6_000), housing, lambda: trained(database_url))
    assert part.status == "interrupted"
    whole = run_task(task(database_url, epochs=6_000, name="whole"), housing, never)
    rest = run_task(task(database_url, epochs=6_000), housing, never)
    assert (rest.run_id, rest.status) == (part.run_id, "completed")
    assert whole.run_id is not None
    assert rest.run_id is not None
    with Store(database_url) as store:
        assert store.run(rest.run_id).resumes == 1
        assert compare(store, store.run(rest.run_id), store.run(whole.run_id)).verdict.passed


def test_a_stopped_sweep_begins_nothing(database_url: str, housing: Dataset) -> None:
    assert run_task(task(database_url), housing, lambda: True).status == "interrupted"
    with Store(database_url) as store:
        assert not store.runs()


def test_a_diverged_combination_is_a_result_and_is_not_tried_again(
    database_url: str, housing: Dataset
) -> None:
    found = run_task(task(database_url, rate=1e6, epochs=200), housing, never)
    assert (found.status, found.good) == ("diverged", False)
    again = run_task(task(database_url, rate=1e6, epochs=200), housing, never)
    assert (again.run_id, again.status, again.trained) == (found.run_id, "diverged", False)


def test_a_verdict_that_fails_fails_the_combination_at_once(
    sqlite_url: str, housing: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verdicts(*_: object) -> list[VerdictRow]:
        found = {"far": False, "near": True, "off": False}
        return [VerdictRow(kind="parity", passed=passed, detail=detail) for detail, passed in found.items()]

    monkeypatch.setattr("job.training.verify", verdicts)
    Store(sqlite_url, create=True).close()
    found = run_task(task(sqlite_url), housing, never)
    assert (found.status, found.why, found.good, found.trained) == ("failed", "far; off", False, True)


@pytest.mark.slow
def test_a_worker_that_is_about_to_end_stores_what_it_has(
    sqlite_url: str, housing: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = threading.Event()
    monkeypatch.setattr("job.sweep.tasks.CLOSING", closing)
    Store(sqlite_url, create=True).close()

    def close_once_trained() -> bool:
        if trained(sqlite_url):
            closing.set()
        return False

    found = run_task(task(sqlite_url, epochs=1_000_000), housing, close_once_trained)
    assert (found.status, found.why) == ("interrupted", "stopped by the sweep")
    assert trained(sqlite_url)


def test_thinned_combinations_are_neither_trained_nor_judged_again(sqlite_url: str, housing: Dataset) -> None:
    settings: dict[str, Any] = {"epochs": 50, "learning_rate": 0.01, "environment": {}, "sweep": "s"}
    with Store(sqlite_url, create=True) as store:
        for seed, status in enumerate(("completed", "interrupted")):
            store.start_run(housing.row(), seed=seed, **settings).finish(status)
        execute(store, "UPDATE runs SET thinned_every = 10")
        assert run_task(task(sqlite_url, seed=0), housing, never) == Result(1, "completed")
        lease_holder = run_task(task(sqlite_url, seed=1), housing, never)
        assert (lease_holder.run_id, lease_holder.status) == (None, "held")
        assert "downsampled" in (lease_holder.why or "")
        assert not [verdict for run in (1, 2) for verdict in store.verdicts(run)]


def test_what_another_process_trains_is_left_to_it(store: Store, database_url: str, housing: Dataset) -> None:
    settings: dict[str, Any] = {"epochs": 50, "learning_rate": 0.01, "seed": 0}
    writer = store.start_run(housing.row(), environment={}, trigger="sweep", sweep="s", **settings)
    with pytest.raises(LeaseHeldError, match="already"):
        store.start_run(housing.row(), environment={}, trigger="sweep", sweep="s", **settings)
    done = threading.Event()

    def live() -> None:
        while not done.wait(0.1):
            store.write(lambda session, attempt: writer._renew(session, attempt))

    thread = threading.Thread(target=live)
    thread.start()
    try:
        assert run_task(task(database_url), housing, never).status == "held"
    finally:
        done.set()
        thread.join()


def test_a_worker_without_pins_is_refused(
    sqlite_url: str, housing: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(SweepError, match="job worker"):
        run_task(task(sqlite_url), housing, never)


# -- on Dask -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with client_of(None, 2) as client:
        yield client


@pytest.mark.slow
def test_the_same_seed_on_two_workers_gives_the_same_bits(
    cluster: Any, database_url: str, housing: Dataset
) -> None:
    Store(database_url, create=True).close()
    addresses = list(cluster.scheduler_info()["workers"])
    assert len(addresses) == 2
    futures = [
        cluster.submit(
            run_task, task(database_url, epochs=300, name=f"on-{i}"), housing, workers=[address], pure=False
        )
        for i, address in enumerate(addresses)
    ]
    one, two = (future.result() for future in futures)
    with Store(database_url) as store:
        first, second = (store.run(runs_of(store, f"on-{i}")[0].id) for i in range(2))
        assert first.environment["pins"] == second.environment["pins"]
        verdict = compare(store, first, second).verdict
        assert verdict.passed, verdict.detail
    assert (one.status, two.status) == ("completed", "completed")


@pytest.mark.slow
def test_a_killed_workers_runs_are_taken_up_by_others(
    cluster: Any, database_url: str, housing: Dataset
) -> None:
    Store(database_url, create=True).close()
    tasks = [task(database_url, seed=seed, epochs=3000) for seed in range(5)]
    results: list[Result] = []
    pids = list(cluster.run(os.getpid).values())

    def kill_one_at_work() -> None:
        with Store(database_url) as store:
            deadline = time.monotonic() + 60
            while not any(run["trained"] for run in summaries(store)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one_at_work)
    killer.start()
    run_all(cluster, tasks, housing, StopRequest(), lambda each, result: results.append(result))
    killer.join()
    assert [result.status for result in results] == ["completed"] * 5
    with Store(database_url) as store:
        rows = runs_of(store, "s")
        assert sorted(run.seed for run in rows) == [0, 1, 2, 3, 4]
        assert all(set(store.progress(run.id).values()) == {3000} for run in rows)


@pytest.mark.slow
def test_a_sweep_is_run_repeated_asked_and_drawn(sqlite_url: str, capsys: Output, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "made.csv")
    words = ["sweep", "--seeds", "0:3", "--learning-rates", "0.01,0.1", "--epochs", "200", "--workers", "2"]
    words += ["--data", str(data), "--database-url", sqlite_url]
    assert command(words) == 0
    assert "sweep made-200: 6 trained now" in capsys.readouterr().out
    assert command(words) == 0
    assert "sweep made-200: 6 completed before" in capsys.readouterr().out
    ask = ["query", "sweep", "--name", "made-200", "--json", "--database-url", sqlite_url]
    assert command(ask) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 12
    assert {row["last_epoch"] for row in rows} == {199}
    assert command(["plot", "--sweep", "made-200", "--database-url", sqlite_url]) == 0
    out = capsys.readouterr().out
    assert "of the spread of the train loss the seed explains" in out
    assert sorted(path.name for path in Path("results/plots").iterdir()) == [
        "sweep-made-200-fan.png",
        "sweep-made-200-fan.svg",
        "sweep-made-200-final.png",
        "sweep-made-200-final.svg",
    ]


@pytest.mark.slow
def test_one_diverged_combination_does_not_end_the_sweep(
    sqlite_url: str, capsys: Output, tmp_path: Path
) -> None:
    data = write_csv(tmp_path / "made.csv")
    words = ["sweep", "--seeds", "0:2", "--learning-rates", "0.01,1e6", "--epochs", "150", "--workers", "1"]
    assert command([*words, "--data", str(data), "--database-url", sqlite_url]) == 1
    assert "2 trained now, 2 diverged" in capsys.readouterr().out


@pytest.mark.slow
def test_ctrl_c_leaves_everything_resumable(sqlite_url: str, job: Job) -> None:
    words = ("sweep", "--seeds", "0:4", "--epochs", 6000, "--workers", 2, "--database-url", sqlite_url)
    Store(sqlite_url, create=True).close()
    process = subprocess.Popen(
        job_command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with Store(sqlite_url) as store:
        deadline = time.monotonic() + 60
        while not any(run["trained"] for run in summaries(store)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "the same command continues" in err
        statuses = {run.status for run in store.runs()}
        assert "interrupted" in statuses
        assert statuses <= {"interrupted", "completed"}
        assert job(*words).returncode == 0
        assert sorted(run.seed for run in runs_of(store, "housing-6000")) == [0, 1, 2, 3]
        assert {run.status for run in store.runs()} == {"completed"}


@pytest.mark.slow
def test_a_scheduler_and_its_workers_can_be_others(sqlite_url: str, job: Job) -> None:
    words = ("sweep", "--seeds", "0:2", "--epochs", 100, "--database-url", sqlite_url)
    refused = job(*words, "--scheduler", "tcp://127.0.0.1:1")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") <= 2
    elsewhere = job(*words, "--scheduler", "tcp://dask.example:8786")
    assert elsewhere.returncode == 2
    assert "need PostgreSQL" in elsewhere.stderr
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as empty:
        worker = subprocess.Popen(job_command("worker", empty.scheduler_address), stderr=subprocess.PIPE)
        try:
            found = job(*words, "--scheduler", empty.scheduler_address)
            assert found.returncode == 0, found.stderr
            assert "2 trained now" in found.stdout
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
        assert worker.returncode == 143


@pytest.mark.slow
def test_connections_to_the_database_are_bounded(postgresql_server: str, tmp_path: Path) -> None:
    from tests.conftest import new_database

    data = write_csv(tmp_path / "made.csv")
    made = new_database(postgresql_server, "template1")
    url = next(made)
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        with Store(url, create=True) as store:
            count = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            while not done.wait(0.05):
                most = max(most, store.read(lambda session: session.scalar(count)) or 0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        words = ["sweep", "--seeds", "0:12", "--epochs", "300", "--workers", "2", "--data", str(data)]
        assert command([*words, "--database-url", url]) == 0
    finally:
        done.set()
        watcher.join()
        next(made, None)
    assert 1 < most <= 2 + 2, "one for each worker, one for the sweep, one for this test"
