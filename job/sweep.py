"""One run for each seed and learning rate, on the workers of a Dask cluster.

Dask carries the tasks and gives a dead worker's to others; the store says what each comes to. A combination
is looked up before it is trained: what is completed stays, what was interrupted goes on, and the lease
decides where two want the same.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product

from db.errors import HeldError, StoreError
from db.lease import RunWriter
from db.schema import RunRow, VerdictRow
from db.specification import Specification
from db.store import Store
from job.dataset import Dataset
from job.errors import SweepError
from job.pins import pins

MOST_RUNS = 100_000
CLOSING = threading.Event()
"""set once this worker process is about to end"""
LOOK = 1.0
"""seconds between two looks at whether the sweep was stopped"""


@dataclass(frozen=True, slots=True)
class Task:
    """One combination of a sweep, and where its history goes."""

    sweep: str
    seed: int
    learning_rate: float
    epochs: int
    database_url: str = field(repr=False)  # which Dask shows
    heartbeat_timeout: float
    database_timeout: float
    stop: str = ""
    """name of the event in the scheduler that stops it: one for each `job sweep`, whatever their names"""

    def __str__(self) -> str:
        return f"seed {self.seed}, learning rate {self.learning_rate:g}"


@dataclass(frozen=True, slots=True)
class Result:
    """What a combination came to: a status of its run, `held` by another process, or `failed`."""

    run_id: int | None
    status: str
    why: str | None = None
    seconds: float = 0.0
    trained: bool = False
    """whether it was trained now; False where it had been before"""

    @property
    def good(self) -> bool:
        """Whether the combination has a whole run whose verdicts passed."""
        return self.status == "completed"


def seeds(text: str) -> list[int]:
    """Seeds from `0:20`, which leaves out 20 like a slice of Python's, `3`, or several with commas between.

    Raises SweepError.
    """
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
    """Learning rates from a list with commas between, each held against `check`. Raises SweepError."""
    try:
        return list(dict.fromkeys(check(float(part)) for part in text.split(",")))
    except ValueError:
        raise SweepError(f"--learning-rates {text!r}: write them like 0.003,0.01,0.03") from None


def combinations(every_seed: list[int], every_rate: list[float]) -> list[tuple[int, float]]:
    """Every seed with every learning rate. Raises SweepError where they are too many."""
    if len(every_seed) * len(every_rate) > MOST_RUNS:
        raise SweepError(f"that would be more than {MOST_RUNS:,} runs; give fewer seeds or learning rates")
    return [(seed, rate) for rate, seed in product(every_rate, every_seed)]


def run_task(task: Task, dataset: Dataset, stopped: Callable[[], bool] | None = None) -> Result:
    """Bring one combination to its end, in a worker's process; what cannot be trained is a result as well.

    `stopped` is asked every second whether the sweep was given up. Raises StoreFailedError where the database
    stays away, upon which Dask tries again.
    """
    require_pins()
    begun = time.monotonic()
    ask = stopped or asking_the_scheduler(task.stop)
    if ask():
        return Result(None, "interrupted", "the sweep was stopped")
    with Store(
        task.database_url, heartbeat_timeout=task.heartbeat_timeout, database_timeout=task.database_timeout
    ) as store:
        store.notice_crashes()
        try:
            found = obtain(store, task, dataset)
        except HeldError as error:
            return Result(None, "held", str(error))
        if isinstance(found, RunRow):
            return Result(found.id, *judged(store, found))
        status, why = train_and_judge(store, found, dataset, ask)
        return Result(found.run_id, status, why, time.monotonic() - begun, trained=True)


def obtain(store: Store, task: Task, dataset: Dataset) -> RunWriter | RunRow:
    """The lease of the combination's run, new or taken up; or the run itself where there is nothing to do."""
    from job.environment import environment
    from job.models import load_models

    same = Specification(dataset.sha256, dataset.target, task.epochs, task.learning_rate, task.seed)
    known = next(iter(store.runs(same.runs().where(RunRow.sweep == task.sweep).limit(1))), None)
    if known is not None and known.status in ("completed", "diverged"):
        return known
    load_models()
    if known is not None:
        try:
            return store.resume_run(known.id, environment=environment())
        except HeldError:
            raise
        except StoreError as error:  # a thinned run, for one
            raise HeldError(str(error)) from error
    return store.start_run(
        dataset.row(),
        epochs=task.epochs,
        learning_rate=task.learning_rate,
        seed=task.seed,
        environment=environment(),
        trigger="sweep",
        sweep=task.sweep,
    )


def train_and_judge(
    store: Store, writer: RunWriter, dataset: Dataset, stopped: Callable[[], bool]
) -> tuple[str, str | None]:
    """Train a run to its end, or until the sweep is stopped, and store its verdicts; its status and why."""
    from job.run import first_states, train_run
    from job.training import Cancelled
    from job.verify import verify

    stop, looked = Cancelled(), time.monotonic()
    stop.by, stop.number = "the sweep", signal.SIGINT

    def look(*_: object) -> None:
        nonlocal looked
        if CLOSING.is_set():
            stop.set()
        elif time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            if stopped():
                stop.set()

    run = store.run(writer.run_id)
    states = first_states(dataset, run.seed) | store.checkpoints(run.id)
    outcome = train_run(writer, run, dataset, states, report=look, stop=stop)
    if outcome.status != "completed":
        return outcome.status, outcome.reason
    return concluded(verify(store, store.run(run.id)))


def judged(store: Store, run: RunRow) -> tuple[str, str | None]:
    """What a run that had ended before comes to, by its newest verdicts; its status and why.

    A process killed between a run's end and its verdicts left none: they are made up for, unless the run has
    been thinned since.
    """
    from job.verify import verify

    if run.status != "completed":
        return run.status, run.stop_reason
    newest = {v.kind: v for v in store.verdicts(run.id) if v.kind in ("parity", "reference")}
    if "parity" not in newest and run.thinned_every is None:
        return concluded(verify(store, store.run(run.id)))
    return concluded(newest.values())


def concluded(verdicts: Iterable[VerdictRow]) -> tuple[str, str | None]:
    """Status and why of a completed run with these verdicts: `failed` where one did not pass."""
    failed = [verdict.detail for verdict in verdicts if not verdict.passed]
    return ("failed", "; ".join(failed)) if failed else ("completed", None)


def asking_the_scheduler(stop: str) -> Callable[[], bool]:
    """What tells a task, in a worker, whether its sweep was stopped, by the event of that name."""
    from distributed import Event, get_client

    event = Event(stop, client=get_client())
    return lambda: bool(event.is_set())


def require_pins() -> None:
    """Raises SweepError where this worker's numerics are not pinned, and so not those of other workers."""
    if any(os.environ.get(name) != value for name, value in pins().items()):
        raise SweepError("this worker's numerics are not pinned; start workers by `job worker`")
