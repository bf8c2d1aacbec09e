"""One run for each seed and learning rate, on the workers of a Dask cluster.

Dask distributes the tasks and moves those of a dead worker to others; the store holds the results. Every
combination is looked up before it is trained: a completed run is kept, an interrupted one is resumed, and the
lease prevents two processes from training the same run.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product

from db.epochs import require_whole
from db.errors import StoreError, StoreFailedError
from db.model_source import DEFAULT_MODELS
from db.schema import RunRow, VerdictRow
from db.store import Store
from job.data.dataset import Dataset
from job.errors import SweepError
from job.pins import pins
from job.stop import StopRequest
from job.training import Settings, start_or_resume, train_and_judge
from job.verdicts.verify import verify

MOST_RUNS = 100_000
CLOSING = threading.Event()
"""set when this worker process is about to end"""
POLL = 0.5
"""seconds between checks of whether the sweep was stopped"""


@dataclass(frozen=True, slots=True)
class Task:
    """One combination of a sweep, and the store of its history."""

    sweep: str
    seed: int
    learning_rate: float
    epochs: int
    database_url: str = field(repr=False)  # Dask shows it
    heartbeat_timeout: float
    database_timeout: float
    stop: str = ""
    """name of the Dask event that stops it; each `job sweep` process has its own, even of one sweep"""
    tolerance: float | None = None
    """for parity; None computes it from the dataset"""
    models: tuple[str, ...] = DEFAULT_MODELS
    """their references; a file must be there on the worker's machine too"""

    def __str__(self) -> str:
        return f"seed {self.seed}, learning rate {self.learning_rate:g}"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a combination: its run's status, `held` by another process, or `failed`."""

    run_id: int | None
    status: str
    why: str | None = None
    seconds: float = 0.0
    trained: bool = False
    """whether this task trained it; False if it had ended before"""

    @property
    def good(self) -> bool:
        """Whether the combination has a completed run whose verdicts passed."""
        return self.status == "completed"


def seeds(text: str) -> list[int]:
    """Seeds from `0:20` (20 excluded), `3`, or several such, separated by commas. Raises SweepError."""
    found: list[int] = []
    for part in text.split(","):
        low, colon, high = part.strip().partition(":")
        try:
            ends = (int(low), int(high)) if colon else (int(low), int(low) + 1)
        except ValueError:
            raise SweepError(f"--seeds {text!r}: write seeds like 0:20, or 1,2,5") from None
        if not 0 <= ends[0] < ends[1] <= 2**32 or ends[1] - ends[0] > MOST_RUNS:
            raise SweepError(f"--seeds {text!r}: {part.strip()} is no range of seeds from 0 to 2^32 - 1")
        found += range(*ends)
    return list(dict.fromkeys(found))


def learning_rates(text: str, check: Callable[[float], float]) -> list[float]:
    """Learning rates from a comma-separated list, each validated by `check`. Raises SweepError."""
    try:
        return list(dict.fromkeys(check(float(part)) for part in text.split(",")))
    except ValueError:
        raise SweepError(f"--learning-rates {text!r}: write them like 0.003,0.01,0.03") from None


def combinations(every_seed: list[int], every_rate: list[float]) -> list[tuple[int, float]]:
    """Every seed with every learning rate. Raises SweepError if they are too many."""
    if len(every_seed) * len(every_rate) > MOST_RUNS:
        raise SweepError(f"that would be more than {MOST_RUNS:,} runs; give fewer seeds or learning rates")
    return [(seed, rate) for rate, seed in product(every_rate, every_seed)]


def run_task(task: Task, dataset: Dataset, stopped: Callable[[], bool] | None = None) -> Result:
    """Train one combination in a worker's process; if it cannot be trained, the result says why.

    `stopped` returns whether the sweep was stopped; a thread calls it repeatedly. Raises StoreFailedError if
    the database stays unreachable; Dask then repeats the task.
    """
    require_pins()
    begun = time.monotonic()
    ask = stopped or asking_the_scheduler(task.stop)
    if ask():
        return Result(None, "interrupted", "the sweep was stopped")
    with (
        watched(ask) as stop,
        Store(
            task.database_url,
            heartbeat_timeout=task.heartbeat_timeout,
            database_timeout=task.database_timeout,
            stop=stop,
        ) as store,
    ):
        settings = Settings(
            dataset,
            task.epochs,
            task.learning_rate,
            task.seed,
            models=task.models,
            trigger="sweep",
            sweep=task.sweep,
        )
        known = store.first(settings.specification.runs().where(RunRow.sweep == task.sweep))
        if known is not None and known.status in ("completed", "diverged"):
            return Result(known.id, *judged(store, known, task.tolerance, dataset))
        try:
            require_whole([] if known is None else [known], "resumed")
            writer = start_or_resume(store, settings)
        except StoreFailedError:
            raise
        except StoreError as error:  # another process holds it, or it cannot be resumed
            return Result(None, "interrupted" if stop.is_set() else "held", str(error))
        conclusion = train_and_judge(writer, dataset, stop=stop, tolerance=task.tolerance)
        status, why = conclusion.outcome.status, conclusion.outcome.reason
        if status == "completed":
            status, why = concluded(conclusion.verdicts)
        return Result(writer.run_id, status, why, time.monotonic() - begun, trained=True)


@contextmanager
def watched(stopped: Callable[[], bool]) -> Iterator[StopRequest]:
    """A request that a thread sets, while open, once the sweep was stopped or this worker is closing.

    A thread, since the task itself may be waiting for a database that hangs.
    """
    stop, ended = StopRequest(), threading.Event()
    stop.by, stop.number = "the sweep", signal.SIGINT

    def poll() -> None:
        while not ended.is_set():
            with suppress(Exception):  # of a lost scheduler; if it stays lost, Dask closes this worker
                if CLOSING.is_set() or stopped():
                    stop.set()
                    return
            ended.wait(POLL)

    threading.Thread(target=poll, daemon=True).start()
    try:
        yield stop
    finally:
        ended.set()


def judged(
    store: Store, run: RunRow, tolerance: float | None = None, dataset: Dataset | None = None
) -> tuple[str, str | None]:
    """The status and reason of a run that had ended before, by its newest verdicts.

    A run is judged again if its process was killed before it stored the verdicts, or if its parity was judged
    by another tolerance than the given one, unless the run is downsampled.
    """
    if run.status != "completed":
        return run.status, run.stop_reason
    newest = {(v.kind, v.model): v for v in store.verdicts(run.id) if v.kind != "drift"}
    by = [verdict.tolerance for (kind, _), verdict in newest.items() if kind == "parity"]
    if (len(by) < len(run.models) - 1 or any(tolerance not in (None, own) for own in by)) and run.whole:
        return concluded(verify(store, store.run(run.id), tolerance, dataset))
    return concluded(newest.values())


def concluded(verdicts: Iterable[VerdictRow]) -> tuple[str, str | None]:
    """The status and reason of a completed run with these verdicts: `failed` if one did not pass."""
    failed = [verdict.detail for verdict in verdicts if not verdict.passed]
    return ("failed", "; ".join(failed)) if failed else ("completed", None)


def asking_the_scheduler(stop: str) -> Callable[[], bool]:
    """A function that returns, in a worker, whether the Dask event of this name is set."""
    from distributed import Event, get_client

    event = Event(stop, client=get_client())
    return lambda: bool(event.is_set())


def require_pins() -> None:
    """Raise SweepError if this worker's numerics are not pinned: its bits could differ from others'."""
    if any(os.environ.get(name) != value for name, value in pins().items()):
        raise SweepError("this worker's numerics are not pinned; start workers by `job worker`")
