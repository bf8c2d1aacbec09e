"""Sweeps with small machines, lost schedulers, signals at any moment, and failed runs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from db.database import summaries
from db.errors import StoreError
from db.schema import RunRow, VerdictRow
from db.store import Store
from job.data.dataset import DEFAULT_DATA, Dataset, load
from job.errors import SweepError
from job.plots.sweep import read_fan
from job.sweep import cluster
from job.sweep.cluster import client_of
from job.sweep.tasks import Result, Task, run_task
from tests.conftest import Job, job_command


@pytest.fixture(scope="module")
def housing() -> Dataset:
    return load(DEFAULT_DATA)


def train_one(url: str, housing: Dataset) -> Result:
    return run_task(Task("s", 0, 0.01, 50, url, 1.0, 10.0), housing, lambda: False)


def test_a_failed_parity_fails_again(database_url: str, housing: Dataset) -> None:
    first = train_one(database_url, housing)
    assert first.run_id is not None
    with Store(database_url) as store:
        store.add_verdict(
            VerdictRow(run_id=first.run_id, kind="parity", passed=False, tolerance=0.0, detail="far apart")
        )
    again = train_one(database_url, housing)
    assert (again.run_id, again.status, again.why) == (first.run_id, "failed", "far apart")


def test_a_run_that_was_killed_before_it_was_judged_is_judged(
    database_url: str, housing: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("job.training.verify", lambda *_: [])
        first = train_one(database_url, housing)
    assert train_one(database_url, housing).run_id == first.run_id
    assert first.run_id is not None
    with Store(database_url) as store:
        assert [verdict.kind for verdict in store.verdicts(first.run_id)] == [
            "integrity",
            "parity",
            "exact",
            "exact",
        ]


def wait_for_line(process: subprocess.Popen[str], begin: str) -> None:
    """Returns once a process has written such a line to stderr."""
    assert process.stderr is not None
    while not process.stderr.readline().startswith(begin):
        assert process.poll() is None


@pytest.fixture
def scheduler() -> Iterator[Any]:
    """A client of a scheduler that has no workers yet."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def limit(dask_worker: Any) -> Any:
    return dask_worker.memory_manager.memory_limit


@pytest.mark.slow
def test_a_local_worker_is_never_paused_for_its_memory() -> None:
    with client_of(None, 1) as client:
        assert list(client.run(limit).values()) == [None]


@pytest.mark.slow
def test_a_worker_is_never_paused_for_its_memory(scheduler: Any) -> None:
    worker = subprocess.Popen(job_command("worker", scheduler.scheduler.address), stderr=subprocess.DEVNULL)
    try:
        scheduler.wait_for_workers(1, timeout=60)
        assert list(scheduler.run(limit).values()) == [None]
    finally:
        worker.terminate()
        worker.wait(60)


@pytest.mark.slow
def test_a_scheduler_without_workers_is_waited_for_and_then_refused(
    scheduler: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "JOIN", 1)
    address = scheduler.scheduler.address
    refusal = f"the scheduler at {address} has no workers; `job worker` is one"
    with pytest.raises(SweepError, match=refusal), client_of(address, 1):
        pass
    assert capsys.readouterr().err == f"job: waiting up to 1 s for a worker of {address}\n"


@pytest.mark.slow
def test_a_sweep_stops_no_other_of_its_name(scheduler: Any, sqlite_url: str) -> None:
    worker = subprocess.Popen(job_command("worker", scheduler.scheduler.address), stderr=subprocess.DEVNULL)
    words = ["--seeds", "0:1", "--scheduler", scheduler.scheduler.address, "--database-url", sqlite_url]
    Store(sqlite_url, create=True).close()
    try:
        long = subprocess.Popen(job_command("sweep", "--epochs", 20_000, "--name", "s", *words))
        with Store(sqlite_url) as store:
            deadline = time.monotonic() + 60
            while not any(run["trained"] for run in summaries(store)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        other = subprocess.Popen(
            job_command("sweep", "--epochs", 50, "--name", "s", *words), stderr=subprocess.PIPE, text=True
        )
        wait_for_line(other, "job: sweep s: ")
        other.send_signal(signal.SIGINT)
        other.communicate(timeout=60)
        assert other.returncode == 130
        assert long.wait(60) == 0
    finally:
        worker.terminate()
        worker.wait(60)


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_one_line(sqlite_url: str, tmp_path: Path) -> None:
    code = (
        "import asyncio, distributed\n"
        "async def serve():\n"
        "    async with distributed.Scheduler(host='127.0.0.1', port=0, dashboard=False) as found:\n"
        "        print(found.address, flush=True)\n"
        "        await found.finished()\n"
        "asyncio.run(serve())\n"
    )
    serving = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert serving.stdout is not None
    address = serving.stdout.readline().strip()
    words = ("sweep", "--seeds", "0:2", "--scheduler", address, "--database-url", sqlite_url)
    Store(sqlite_url, create=True).close()
    process = subprocess.Popen(job_command(*words), stderr=subprocess.PIPE, text=True)
    wait_for_line(process, "job: waiting up to 30 s for a worker")
    worker = subprocess.Popen(job_command("worker", address), stderr=subprocess.DEVNULL)
    try:
        with Store(sqlite_url) as store:
            deadline = time.monotonic() + 60
            while not any(run["trained"] for run in summaries(store)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        serving.kill()
        _, err = process.communicate(timeout=90)
    finally:
        serving.kill()
        worker.terminate()
        serving.communicate()
        worker.wait(60)
    assert process.returncode == 1
    assert err.splitlines()[-1].endswith(f"the scheduler at {address} went away; the same command continues")
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.2, 0.6, 1.0, 1.5, 2.0])
def test_ctrl_c_at_any_moment_ends_a_sweep(sqlite_url: str, after: float) -> None:
    words = ("sweep", "--seeds", "0:6", "--workers", 2, "--database-url", sqlite_url)
    process = subprocess.Popen(
        job_command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_line(process, "job: sweep housing-10000: ")
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, err = process.communicate(timeout=25)
    assert (process.returncode, "Traceback" in err) == (130, False), err


def test_a_sweep_is_of_one_table_and_target(sqlite_url: str, job: Job, housing: Dataset) -> None:
    Store(sqlite_url, create=True).close()
    run_task(Task("housing-50", 0, 0.01, 50, sqlite_url, 1.0, 10.0), housing, lambda: False)
    words = ("--epochs", 50, "--seeds", "0:1", "--target", "LSTAT", "--database-url", sqlite_url)
    refused = job("sweep", *words)
    assert (refused.returncode, "--name" in refused.stderr, refused.stderr.count("\n")) == (2, True, 1)
    other = load(DEFAULT_DATA, "LSTAT")
    run_task(Task("housing-50", 0, 0.01, 50, sqlite_url, 1.0, 10.0), other, lambda: False)
    with Store(sqlite_url) as store, pytest.raises(StoreError, match="several data or targets"):
        read_fan(store, "housing-50")


@pytest.mark.slow
def test_thinned_runs_are_not_drawn(store: Store, database_url: str, housing: Dataset, job: Job) -> None:
    first = train_one(database_url, housing)
    run_task(Task("s", 1, 0.01, 50, database_url, 1.0, 10.0), housing, lambda: False)
    thinned = update(RunRow).where(RunRow.id == first.run_id).values(thinned_every=10)
    store.write(lambda session, _: session.execute(thinned))
    fan = read_fan(store, "s")
    assert (fan.seeds.tolist(), fan.left_out) == ([1], 1)
    assert (
        "downsampled runs of the sweep s: 1"
        in job("plot", "--sweep", "s", "--database-url", database_url).stderr
    )
