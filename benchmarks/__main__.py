"""`make bench`: measures every figure of the table and writes benchmarks/results.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from job.pins import pin

pin()

from benchmarks import databases  # noqa: E402
from benchmarks.results import Figure, Measure, medians, write  # noqa: E402
from db.query import named_queries  # noqa: E402
from db.store import Store  # noqa: E402
from job.answers import answer  # noqa: E402
from job.training.loop import BLOCK_EPOCHS  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 10_000
numbers = count(1)


class Bench:
    """What the measurements share: a directory, a PostgreSQL, and how often each is repeated."""

    def __init__(self, place: Path, server: str, rounds: int, runs: int, mlflow: Path | None) -> None:
        self.place = place
        self.server = server
        self.rounds = rounds
        self.runs = runs
        self.mlflow = mlflow
        # Python as it comes: with its bytecode cached, above all.
        inherited = (name for name in os.environ if not name.startswith(("JOB_", "PYTHON")))
        self.environment = {name: os.environ[name] for name in inherited} | {"PYTHONPATH": str(ROOT)}

    def new_path(self) -> Path:
        """A name in the directory that nothing has yet."""
        return self.place / str(next(numbers))

    def whole_process(self, *words: object) -> Measure:
        """Seconds of one process of this Python, in a fresh directory; `{new}` in a word is a new path."""

        def measure() -> float:
            directory = self.new_path()
            directory.mkdir()
            command = [sys.executable, *(str(word).replace("{new}", str(self.new_path())) for word in words)]
            begun = time.perf_counter()
            subprocess.run(command, cwd=directory, env=self.environment, check=True, capture_output=True)
            return time.perf_counter() - begun

        return measure

    def trained(self, what: str, *options: object) -> dict[str, float]:
        """What `benchmarks.inside` says of one training."""
        command = [sys.executable, "-m", "benchmarks.inside", what, *map(str, options)]
        done = subprocess.run(
            command, cwd=self.place, env=self.environment, check=True, capture_output=True, text=True
        )
        said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return said

    def inside(self, what: Callable[[], str], key: str, *options: object) -> Measure:
        """What `benchmarks.inside` says of one training under that key; per value for `storing`."""

        def measure() -> float:
            said = self.trained(what(), *options)
            return said[key] / said["values"] * 1e6 if key == "storing" else said[key]

        return measure

    def beside_bare(self, what: Callable[[], str]) -> tuple[float, float]:
        """Seconds of a training, and of the bare loop whose blocks alternate with its: the median ratio's."""
        said = [self.trained(what(), "--beside-bare") for _ in range(self.rounds)]
        pairs = sorted(((one["seconds"], one["bare"]) for one in said), key=lambda pair: pair[0] / pair[1])
        return pairs[len(pairs) // 2]

    def sqlite(self) -> str:
        """URL of a new SQLite store."""
        return f"sqlite:///{self.new_path()}.db"

    def postgresql(self) -> str:
        """URL of a new database."""
        return databases.new_database(self.server)


def whole_processes(bench: Bench) -> Iterator[Figure]:
    """The job beside the notebook and beside the bare loop, from the first import to the last byte."""
    job, notebook, bare = medians(
        bench.rounds,
        bench.whole_process("-m", "job", "train"),
        bench.whole_process("-m", "benchmarks.notebook", "{new}"),
        bench.whole_process("-m", "benchmarks.bare"),
    )
    yield Figure(
        "`job train`, SQLite, mirror on, whole process", "the notebook's loop", job, notebook, "s", 0.4
    )
    yield Figure("the same", "a bare loop that records nothing", job, bare, "s", 1.15)


def in_process(bench: Bench) -> Iterator[Figure]:
    """The training alone, with a store and without."""
    for name, store, goal in (("SQLite", bench.sqlite, 1.08), ("PostgreSQL", bench.postgresql, 1.12)):
        ours, theirs = bench.beside_bare(store)
        yield Figure(f"training, {name}, no mirror", "bare loop, in process", ours, theirs, "s", goal)


def long_and_wide(bench: Bench) -> Iterator[Figure]:
    """Ten times the epochs, and forty times the features."""
    rounds = max(1, bench.rounds // 2)
    for key, unit, goal in (("seconds", "s", 10.5), ("megabytes", "MB", 30.0)):
        long, short = medians(
            rounds,
            bench.inside(bench.sqlite, key, "--epochs", 10 * EPOCHS),
            bench.inside(bench.sqlite, key, "--epochs", EPOCHS),
        )
        what = f"{10 * EPOCHS:,} epochs, {'time' if unit == 's' else 'memory'}"
        yield Figure(what, f"{EPOCHS:,} epochs", long, short, unit, goal, difference=unit == "MB")
    for name, store in (("SQLite", bench.sqlite), ("PostgreSQL", bench.postgresql)):
        wide, narrow = medians(
            bench.rounds,
            bench.inside(store, "storing", "--features", 500, "--epochs", 1000),
            bench.inside(store, "storing", "--features", 13, "--epochs", 1000),
        )
        yield Figure(f"500 features, storing a value, {name}", "13 features", wide, narrow, "us", 1.0)


def trackers(bench: Bench) -> Iterator[Figure]:
    """One run's history in MLflow's store, and as VisualDL's LogWriter writes it."""
    from visualdl import LogWriter

    from job.data.dataset import load
    from job.mirror.mend import redraw

    source = bench.new_path()
    url = f"sqlite:///{source}.db"
    bench.inside(lambda: url, "seconds")()
    with Store(url) as store:
        run = store.run(1)
        histories = {model: store.history(1, model) for model in store.progress(1)}
        parameters = [*(feature.name for feature in run.dataset.features), "bias"]

        def own_store() -> tuple[float, float]:
            path = bench.new_path()
            with Store(f"sqlite:///{path}", create=True) as fresh:
                lease = fresh.start_run(
                    load().row(), epochs=EPOCHS, learning_rate=0.01, seed=0, environment={}
                )
                empty = path.stat().st_size
                begun = time.perf_counter()
                for start in range(0, EPOCHS, BLOCK_EPOCHS):  # as a training stores them
                    for model, history in histories.items():
                        lease.append(model, history[start : start + BLOCK_EPOCHS])
                seconds = time.perf_counter() - begun
            return seconds, float(path.stat().st_size - empty)

        def mirrored() -> float:
            begun = time.process_time()
            redraw(store, run, bench.new_path(), print, lambda *_: None, 0)
            return time.process_time() - begun

        def log_writer() -> float:
            logs = bench.new_path()
            begun = time.process_time()
            for model, history in histories.items():
                with LogWriter(str(logs / model)) as writer:
                    for i in range(len(history)):
                        step, moment = int(history.epoch[i]), round(history.trained_at[i] * 1000)
                        writer.add_scalar("loss/train", float(history.train_loss[i]), step, moment)
                        writer.add_scalar("loss/test", float(history.test_loss[i]), step, moment)
                        writer.add_histogram("weights", history.weights[i], step, moment, buckets=13)
            return time.process_time() - begun

        if bench.mlflow:
            values: dict[str, tuple[list[float], list[int]]] = {}
            for model, history in histories.items():
                columns = {"train": history.train_loss, "test": history.test_loss}
                columns |= dict(zip(parameters, [*history.weights.T, history.bias], strict=True))
                moments = (history.trained_at * 1000).astype(int).tolist()
                values |= {f"{model}/{name}": (column.tolist(), moments) for name, column in columns.items()}
            dump = bench.new_path()
            dump.write_text(json.dumps(values))
            command = [str(bench.mlflow.absolute()), str(ROOT / "benchmarks" / "mlflow_store.py"), str(dump)]
            done = subprocess.run(
                [*command, str(bench.new_path())], check=True, capture_output=True, text=True, cwd=bench.place
            )
            theirs = json.loads(done.stdout.splitlines()[-1])
            seconds, size = medians(bench.rounds, lambda: own_store()[0], lambda: own_store()[1])
            what = "storing one run's history, SQLite"
            yield Figure(f"{what}, time", "MLflow's `log_batch`", seconds, theirs["seconds"], "s", 0.01)
            yield Figure(f"{what}, size", "MLflow's", size / 1e6, theirs["bytes"] / 1e6, "MB", 0.05)
        drawn, written = medians(bench.rounds, mirrored, log_writer)
        yield Figure("drawing one run's mirror, CPU", "LogWriter's defaults", drawn, written, "s", 0.3)


def many_runs(bench: Bench) -> Iterator[Figure]:
    """Each named query on one run, in a store of one run and in one of many."""
    for name, new_store in (("SQLite", bench.sqlite), ("PostgreSQL", bench.postgresql)):
        few, many = new_store(), new_store()
        for url in (few, many):
            bench.inside(lambda url=url: url, "seconds")()  # type: ignore[misc]
        databases.multiply(few, 1)
        databases.multiply(many, bench.runs)
        with Store(few) as small, Store(many) as large:
            for query in named_queries(small.url.get_backend_name()):
                if "run" not in query.parameters:
                    continue

                def asked(store: Store, name: str = query.name) -> Measure:
                    def measure() -> float:
                        begun = time.perf_counter()
                        answer(store, name, store.run(1))
                        return (time.perf_counter() - begun) * 1000

                    return measure

                ours, theirs = medians(2 * bench.rounds + 1, asked(large), asked(small))
                what = f"`{query.name}` of {bench.runs:,} runs, {name}"
                yield Figure(what, "in a store of 1 run", ours, theirs, "ms", 2.0, limit=200.0)


def start_up(bench: Bench) -> Iterator[Figure]:
    """How soon a command answers."""
    help_text, runs, imports = medians(
        2 * bench.rounds + 1,
        bench.whole_process("-m", "job", "--help"),
        bench.whole_process("-m", "job", "runs"),
        bench.whole_process("-c", "import typer, sqlalchemy"),
    )
    yield Figure("`job --help`", "`import typer, sqlalchemy`", help_text, imports, "s", 1.5)
    yield Figure("`job runs`", "the same", runs, imports, "s", 1.5)


def sweeps(bench: Bench) -> Iterator[Figure]:
    """40 runs of 2,000 epochs on two workers, and one after the other in one process."""
    parallel, row = medians(
        max(1, bench.rounds // 2),
        bench.whole_process("-m", "job", "sweep", "--seeds", "0:40", "--epochs", 2000, "--workers", 2),
        bench.whole_process("-m", "benchmarks.row", "--seeds", 40, "--epochs", 2000),
    )
    yield Figure("sweep of 40 runs, 2 workers", "one process in a row", parallel, row, "s", 1 / 1.7)


PARTS = (whole_processes, in_process, trackers, long_and_wide, many_runs, start_up, sweeps)


def main() -> None:
    """Measure all, or the parts named, print each figure as it comes, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1000, help="runs of the large store: 4.5 MB each, twice")
    parser.add_argument("--mlflow", type=Path, help="a Python that has MLflow; else that line is left out")
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS], action="append")
    options = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as place, databases.postgresql() as server:
        bench = Bench(Path(place), server, options.rounds, options.runs, options.mlflow)
        for part in PARTS:
            if options.only and part.__name__ not in options.only:
                continue
            for figure in part(bench):
                print(figure.row(), flush=True)
                figures.append(figure)
    if not options.only:
        write(figures, ROOT / "benchmarks" / "results.md")


if __name__ == "__main__":
    main()
