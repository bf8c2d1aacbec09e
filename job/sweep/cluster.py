"""The Dask side of a sweep: a local cluster or an existing scheduler, and the worker."""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from typing import Any
from urllib.parse import urlsplit

from job.data.dataset import Dataset
from job.errors import ModelError, SchedulerLostError, SweepError
from job.log import log_line
from job.models.loading import load_models
from job.stop import StopRequest
from job.sweep.tasks import CLOSING, Result, Task, run_task

CONNECT = 10.0
"""seconds to wait for a scheduler"""
JOIN = 30.0
"""seconds to wait for the first worker of a scheduler that has none"""
SETTLE = 20.0
"""seconds for the tasks of a stopped sweep to store their epochs"""
RETRIES = 3
"""how often Dask repeats a task whose database was unreachable or whose worker died"""
PRELOAD = "LEDGER_PRELOAD"
"""variable with the models that the fork server loads; not JOB_MODELS, which would stay set here"""
NO_LIMIT = 0
"""turns off Dask's memory limit: a worker has nothing to spill, and Paddle alone may exceed its share"""
DASK_SETTINGS = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "30s",
}
"""Dask settings that keep its threads from waking a hundred times a second during a training"""


def dask() -> Any:
    """The module `distributed`, with its loggers silenced. Raises SweepError if it is not installed."""
    for name, value in DASK_SETTINGS.items():
        os.environ.setdefault(name, value)  # before its import; its child processes inherit them
    try:
        import distributed
    except ModuleNotFoundError:
        raise SweepError(
            'a sweep needs Dask, which is not installed; run: pip install "epoch-ledger[sweep]"'
        ) from None
    # A sweep logs what its user needs. Each by its name, as Dask sets the level of some by name.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("distributed", "tornado", "asyncio")):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


def closing_plugin() -> Any:
    """A worker plugin: the worker ignores SIGINT, and its task stores its epochs when the worker closes."""
    from distributed import WorkerPlugin

    class Closing(WorkerPlugin):  # type: ignore[misc]
        name = "epoch-ledger"

        # The class is pickled by value, so its methods import the worker's own objects.
        def setup(self, worker: Any) -> None:
            from job.sweep.tasks import CLOSING

            CLOSING.clear()
            with suppress(ValueError):  # not in the main thread
                signal.signal(signal.SIGINT, signal.SIG_IGN)

        def teardown(self, worker: Any) -> None:
            from job.sweep.tasks import CLOSING

            CLOSING.set()

    return Closing()


@contextmanager
def sigint_kept_from_children() -> Iterator[None]:
    """In this context SIGINT is blocked; threads and processes started in it inherit that and keep it.

    A terminal sends Ctrl-C to workers too, perhaps before the plugin makes them ignore it. This process
    receives it when the context ends.
    """
    resource_tracker.ensure_running()  # else the first worker's thread starts it, which unblocks SIGINT there
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def load_ahead(models: Sequence[str]) -> None:
    """Start a fork server that loads the frameworks for local workers, without waiting for it.

    Models in files are loaded by each worker.

    Only on Linux: elsewhere the frameworks do not survive a fork, and every worker loads its own.
    """
    if sys.platform != "linux":
        return
    os.environ |= DASK_SETTINGS | {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver"}
    os.environ[PRELOAD] = ",".join(model for model in models if ":" not in model)
    multiprocessing.set_forkserver_preload(["job.sweep.preload"])
    with sigint_kept_from_children():
        forkserver.ensure_running()


@contextmanager
def client_of(scheduler: str | None, workers: int) -> Iterator[Any]:
    """A client of that scheduler, or of a local cluster of `workers` processes, which it closes at the end.

    Raises SweepError if the scheduler cannot be reached or has no workers.
    """
    distributed = dask()
    if scheduler is None:
        with sigint_kept_from_children():
            local = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # any free port; we do not use it
                silence_logs=logging.CRITICAL,
                memory_limit=NO_LIMIT,
            )
        with local as cluster, distributed.Client(cluster) as client:
            client.register_plugin(closing_plugin())
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SweepError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    with client:
        try:
            if not client.scheduler_info()["workers"]:
                log_line(f"waiting up to {JOIN:.0f} s for a worker of {scheduler}")
            client.wait_for_workers(1, timeout=JOIN)
        except TimeoutError:
            raise SweepError(f"the scheduler at {scheduler} has no workers; `job worker` is one") from None
        yield client


def is_elsewhere(scheduler: str) -> bool:
    """Whether a scheduler's workers may be on other machines, which have other files."""
    return urlsplit(scheduler).hostname not in ("127.0.0.1", "localhost", "::1")


def run_all(
    client: Any,
    tasks: Sequence[Task],
    dataset: Dataset,
    stop: StopRequest,
    on_result: Callable[[Task, Result], None],
) -> None:
    """Run every task on the client's workers; call `on_result` with each task and its result as it ends.

    If `stop` is set, running tasks store their epochs and the others are dropped. Raises SchedulerLostError
    if the connection to the scheduler is lost.
    """
    from distributed import Event

    if stop.is_set():
        return
    stopping = Event(tasks[0].stop, client=client)
    # A task of its own, not an argument of each: workers keep its result, and fetch it again if they lost it.
    data = client.submit(same, dataset, pure=False)
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    pending = {client.submit(run_task, task, data, pure=False, retries=RETRIES): task for task in tasks}
    for future in list(pending):
        future.add_done_callback(ended.put)
    deadline = math.inf
    while pending and time.monotonic() < deadline:
        if stop.is_set() and deadline == math.inf:
            deadline = time.monotonic() + SETTLE
            stopping.set()  # running tasks store their epochs, the others end at once
        if deadline < math.inf and not client.scheduler_info()["workers"]:
            return  # nothing runs, and nothing will
        with suppress(queue.Empty):
            future = ended.get(timeout=0.2)
            on_result(pending.pop(future), outcome(future))


def same(dataset: Dataset) -> Dataset:
    """The dataset; Dask needs a function that returns it."""
    return dataset


def outcome(future: Any) -> Result:
    """A task's result, `failed` for an exception. Raises SchedulerLostError if the task is unknown."""
    if future.cancelled():
        where = future.client.scheduler.address
        raise SchedulerLostError(f"the scheduler at {where} went away; the same command continues")
    error = future.exception()
    return future.result() if error is None else Result(None, "failed", f"{type(error).__name__}: {error}")


def work(scheduler: str) -> int:
    """Run a worker of a scheduler until a signal; return its number. Raises SweepError if none answers."""
    distributed = dask()
    with suppress(ModelError):  # without Paddle, for sweeps of other models
        load_models()  # Paddle installs signal handlers, so it must load before ours are set
    stopped_by = 0

    async def serve() -> None:
        nonlocal stopped_by
        loop, closing = asyncio.get_running_loop(), []
        worker = distributed.Worker(
            scheduler,
            nthreads=1,
            death_timeout=60,
            plugins=[closing_plugin()],
            silence_logs=logging.CRITICAL,
            memory_limit=NO_LIMIT,
        )

        def end(number: int) -> None:
            nonlocal stopped_by
            stopped_by = number
            CLOSING.set()
            closing.append(loop.create_task(worker.close(timeout=SETTLE)))

        async with worker:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, end, number)
            await worker.finished()

    try:
        asyncio.run(serve())
    except (OSError, TimeoutError, ValueError) as error:
        raise SweepError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    return stopped_by
