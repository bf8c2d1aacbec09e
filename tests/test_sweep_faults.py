"""Sweeps that meet small machines, lost schedulers, signals at any moment, and runs that are not what they seem."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from job.cluster import client_of
from tests.conftest import job_command


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


def test_a_local_worker_is_never_paused_for_its_memory() -> None:
    with client_of(None, 1) as client:
        assert list(client.run(limit).values()) == [None]


def test_a_worker_is_never_paused_for_its_memory(scheduler: Any) -> None:
    worker = subprocess.Popen(job_command("worker", scheduler.scheduler.address), stderr=subprocess.DEVNULL)
    try:
        scheduler.wait_for_workers(1, timeout=60)
        assert list(scheduler.run(limit).values()) == [None]
    finally:
        worker.terminate()
        worker.wait(60)
