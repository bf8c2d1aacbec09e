"""Measures what the mirror costs: `python -m tests.measure_mirror [--trainings N]`. Decides no test.

Prints seconds of CPU, medians of alternating rounds: drawing 10,000 epochs of both models from a SQLite
store, beside VisualDL's LogWriter with its defaults writing the same values; and, with --trainings, the
elapsed seconds of N trainings each with and without the mirror.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from job.pins import pin

pin()

from visualdl import LogWriter  # noqa: E402

from db.store import Store  # noqa: E402
from job.mirror.mend import redraw  # noqa: E402
from tests.conftest import job_command  # noqa: E402
from tests.samples import dataset_row, history  # noqa: E402

EPOCHS, FEATURES, ROUNDS = 10_000, 13, 5


def cpu_seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def log_writer(store: Store, log_dir: Path) -> None:
    """The same values by VisualDL's own means."""
    for model in store.progress(1):
        stored = store.history(1, model)
        with LogWriter(str(log_dir / model)) as writer:
            for i in range(len(stored)):
                step, moment = int(stored.epoch[i]), round(stored.trained_at[i] * 1000)
                writer.add_scalar("loss/train", float(stored.train_loss[i]), step, moment)
                writer.add_scalar("loss/test", float(stored.test_loss[i]), step, moment)
                writer.add_histogram("weights", stored.weights[i], step, moment, buckets=FEATURES)


def measure_drawing() -> None:
    mirror, own = [], []
    with tempfile.TemporaryDirectory() as place, Store(f"sqlite:///{place}/l.db", create=True) as store:
        run = store.start_run(dataset_row(FEATURES), epochs=EPOCHS, learning_rate=0.1, seed=0, environment={})
        for model in ("paddle", "python"):
            run.append(model, history(EPOCHS, FEATURES))
        row = store.run(1)
        for i in range(ROUNDS):
            logs = Path(place) / str(i)
            mirror.append(cpu_seconds(lambda: redraw(store, row, logs, print, lambda *_: None, 0)))  # noqa: B023
            own.append(cpu_seconds(lambda: log_writer(store, logs / "own")))  # noqa: B023
    drawn, written = statistics.median(mirror), statistics.median(own)
    print(f"drawing {EPOCHS:,} epochs of both models: mirror {drawn:.2f} s, LogWriter {written:.2f} s of CPU")
    print(f"ratio {drawn / written:.3f}")


def measure_trainings(count: int) -> None:
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(count):
        for name in seconds:
            with tempfile.TemporaryDirectory() as place:
                options = ["--no-mirror"] if name == "without" else []
                started = time.perf_counter()
                subprocess.run(job_command("train", *options), cwd=place, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(", ".join(f"{name} the mirror {value:.2f} s" for name, value in medians.items()))
    print(f"ratio of medians {medians['with'] / medians['without']:.3f}")
    print(f"ratio of minima {min(seconds['with']) / min(seconds['without']):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--trainings", type=int, default=0)
    wanted = parser.parse_args().trainings
    measure_drawing()
    if wanted:
        measure_trainings(wanted)
