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
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from job.pins import pin

pin()

from benchmarks import databases  # noqa: E402
from benchmarks.peers.table import NAMES, recorders, rows  # noqa: E402
from benchmarks.results import Figure, in_turns, write, write_peers  # noqa: E402
from db.history import History  # noqa: E402
from db.query import named_queries  # noqa: E402
from db.store import Store  # noqa: E402
from job.named_query import run_named_query  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 10_000
NOTEBOOK = "the notebook's loop, LogWriter for each epoch"
BARE = "eager loops of both models that keep nothing"
ALONE = "the same models alone, which keep nothing"
WHOLE = (
    "Training takes about a third of the time. The rest is imports, creating the store, judging the run and "
    "ending the mirror; the loops do almost none of this."
)
STORING = (
    "Storing takes as long as when the goal was set. But Paddle's static program has made the models alone "
    "1.4 times faster, so storing is a larger part."
)
JSON_TEXT = (
    "On SQLite the parameters are JSON text, which SQL can read. `job prune --archive-older-than` packs old "
    "runs."
)
READS_ALL = "The query reads every epoch of both models, which takes most of the time."
SWEEPING = (
    "Starting Dask and two workers, each of which loads Paddle, takes three seconds longer than starting one "
    "process. A longer sweep comes closer to the goal."
)
numbers = count(1)


@dataclass
class Bench:
    """What the measurements share: a directory, a PostgreSQL, and the number of repetitions."""

    place: Path
    server: str
    rounds: int
    runs: int
    peers: Path | None
    """how the names of the other trackers' environments begin"""

    def __post_init__(self) -> None:
        # Python's defaults: above all, its bytecode cached.
        inherited = (name for name in os.environ if not name.startswith(("JOB_", "PYTHON")))
        environment = {name: os.environ[name] for name in inherited} | {"PYTHONPATH": str(ROOT)}
        self.run = partial(
            subprocess.run, cwd=self.place, env=environment, check=True, capture_output=True, text=True
        )

    def new_path(self) -> Path:
        """An unused name in the directory."""
        return self.place / str(next(numbers))

    def whole_process(self, *words: object) -> float:
        """Seconds of one process of this Python, in a new directory; RuntimeError if a model falls back."""
        directory = self.new_path()
        directory.mkdir()
        begun = time.perf_counter()
        done = self.run([sys.executable, *map(str, words)], cwd=directory)
        seconds = time.perf_counter() - begun
        if "trains epoch by epoch" in done.stderr:
            raise RuntimeError(done.stderr)
        return seconds

    def said(self, *command: object) -> dict[str, Any]:
        """The numbers that a process prints as JSON on its last line."""
        said: dict[str, Any] = json.loads(self.run(list(map(str, command))).stdout.splitlines()[-1])
        return said

    def trained(self, store: Callable[[], str], *options: object) -> dict[str, Any]:
        """What `benchmarks.inside` prints about one training into that store."""
        return self.said(sys.executable, "-m", "benchmarks.inside", store(), *options)

    def sqlite(self) -> str:
        """URL of a new SQLite store."""
        return f"sqlite:///{self.new_path()}.db"

    def postgresql(self) -> str:
        """URL of a new database."""
        return databases.new_database(self.server)


def column(measured: list[dict[str, Any]], key: str) -> list[float]:
    """One number of each round."""
    return [one[key] for one in measured]


def whole_processes(bench: Bench) -> Iterator[Figure]:
    """The job against the notebook and the bare loops, from the first import to the end of the process."""
    job, notebook, bare = in_turns(
        bench.rounds,
        partial(bench.whole_process, "-m", "job", "train"),
        partial(bench.whole_process, "-m", "benchmarks.notebook", "logs"),
        partial(bench.whole_process, "-m", "benchmarks.bare"),
    )
    what = "`job train`, SQLite, mirror on, whole process"
    yield Figure(what, NOTEBOOK, job, notebook, "s", 0.24, reason=WHOLE)
    yield Figure(what, BARE, job, bare, "s", 0.56, reason=WHOLE)


def in_process(bench: Bench) -> Iterator[Figure]:
    """The training alone, with a store and without."""
    for name, store, goal in (("SQLite", bench.sqlite, 1.18), ("PostgreSQL", bench.postgresql, 1.25)):
        said = [bench.trained(store, "--beside-bare") for _ in range(bench.rounds)]
        ours, theirs = column(said, "seconds"), column(said, "bare")
        yield Figure(f"training, {name}, no mirror", ALONE, ours, theirs, "s", goal, reason=STORING)


def long_and_wide(bench: Bench) -> Iterator[Figure]:
    """Ten times the epochs, and forty times the features."""
    long, short = in_turns(
        bench.rounds,
        partial(bench.trained, bench.sqlite, "--epochs", 10 * EPOCHS),
        partial(bench.trained, bench.sqlite, "--epochs", EPOCHS),
    )
    for key, unit, goal in (("seconds", "s", 10.2), ("megabytes", "MB", 30.0)):
        what = f"{10 * EPOCHS:,} epochs, {'time' if unit == 's' else 'memory'}"
        ours, theirs = column(long, key), column(short, key)
        yield Figure(what, f"{EPOCHS:,} epochs", ours, theirs, unit, goal, difference=unit == "MB")
    for name, store in (("SQLite", bench.sqlite), ("PostgreSQL", bench.postgresql)):
        wide, narrow = in_turns(
            bench.rounds,
            partial(bench.trained, store, "--features", 500, "--epochs", 1000),
            partial(bench.trained, store, "--features", 13, "--epochs", 1000),
        )
        ours, theirs = column(wide, "microseconds"), column(narrow, "microseconds")
        yield Figure(f"500 features, storing a value, {name}", "13 features", ours, theirs, "us", 1.0)


def one_history(bench: Bench) -> tuple[str, dict[str, History], tuple[str, ...]]:
    """The URL of a store of one default run, the histories of its models, and the names of their columns."""
    url = bench.sqlite()
    bench.trained(lambda: url)
    with Store(url) as store:
        histories = {model: store.history(1, model) for model in store.progress(1)}
        return url, histories, ("train", "test", *store.run(1).parameter_names)


def trackers(bench: Bench) -> Iterator[Figure]:
    """One run's history written to MLflow's store, and by VisualDL's LogWriter."""
    from visualdl import LogWriter

    from job.mirror.repair import rewrite

    url, histories, names = one_history(bench)
    if bench.peers:
        measures = recorders(histories, names, bench.peers, bench.new_path)
        ours, theirs = in_turns(bench.rounds, measures["ours"], measures["mlflow"])
        against = f"{NAMES['mlflow']} ({theirs[0]['version']})"
        for key, name, unit, goal in (("seconds", "time", "s", 0.01), ("megabytes", "size", "MB", 0.05)):
            what = f"storing one run's history, SQLite, {name}"
            yield Figure(what, against, column(ours, key), column(theirs, key), unit, goal, reason=JSON_TEXT)
    with Store(url) as store:
        run = store.run(1)

        def mirrored() -> float:
            begun = time.process_time()
            rewrite(store, run, bench.new_path(), print, lambda *_: None, 0)
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
                        writer.add_histogram("weights", history.parameters[i, :-1], step, moment, buckets=13)
            return time.process_time() - begun

        drawn, written = in_turns(bench.rounds, mirrored, log_writer)
        against = "LogWriter, an `add_` for each value"
        yield Figure("drawing one run's mirror, CPU", against, drawn, written, "s", 0.3)


def answered(store: Store, name: str) -> float:
    """Milliseconds of a named query about run 1."""
    begun = time.perf_counter()
    run_named_query(store, name, store.run(1))
    return (time.perf_counter() - begun) * 1000


def many_runs(bench: Bench) -> Iterator[Figure]:
    """Each named query on one run, in a store of one run and in a store of many."""
    for name, new_store in (("SQLite", bench.sqlite), ("PostgreSQL", bench.postgresql)):
        few, many = new_store(), new_store()
        for url in (few, many):
            bench.trained(lambda url=url: url)  # type: ignore[misc]
        one, each = [databases.multiply(few, 1)], [databases.multiply(many, bench.runs)]
        yield Figure(f"one of {bench.runs:,} runs, size, {name}", "in a store of 1 run", each, one, "MB")
        with Store(few) as small, Store(many) as large:
            for query in named_queries():
                if "run" not in query.parameters:
                    continue
                measures = [partial(answered, store, query.name) for store in (large, small)]
                ours, theirs = in_turns(2 * bench.rounds + 1, *measures)
                what = f"`{query.name}` of {bench.runs:,} runs, {name}"
                yield Figure(
                    what, "in a store of 1 run", ours, theirs, "ms", 2.0, limit=200.0, reason=READS_ALL
                )


def start_up(bench: Bench) -> Iterator[Figure]:
    """How quickly a command answers."""
    url = bench.sqlite()
    bench.trained(lambda: url, "--epochs", 10)
    rounds = 2 * bench.rounds + 1
    ours, theirs = in_turns(
        rounds,
        partial(bench.whole_process, "-m", "job", "--help"),
        partial(bench.whole_process, "-c", "import typer; typer.run(lambda: None)", "--help"),
    )
    yield Figure("`job --help`", "`--help` of an empty Typer program", ours, theirs, "s", 1.5)
    ours, theirs = in_turns(
        rounds,
        partial(bench.whole_process, "-m", "job", "runs", "--database-url", url),
        partial(bench.whole_process, "-c", "import typer, sqlalchemy"),
    )
    yield Figure("`job runs` of 1 run", "`import typer, sqlalchemy`", ours, theirs, "s", 1.0)


def sweeps(bench: Bench) -> Iterator[Figure]:
    """40 runs of 2,000 epochs: on two workers, and one after the other in one process."""
    ours, theirs = in_turns(
        bench.rounds,
        partial(
            bench.whole_process, "-m", "job", "sweep", "--seeds", "0:40", "--epochs", 2000, "--workers", 2
        ),
        partial(bench.whole_process, "-m", "benchmarks.row", 40, 2000),
    )
    against = "the same runs in a row, one process"
    yield Figure("sweep of 40 runs, 2 workers", against, ours, theirs, "s", 0.55, reason=SWEEPING)


PARTS = (whole_processes, in_process, trackers, long_and_wide, many_runs, start_up, sweeps)


def main() -> None:
    """Measure everything, or the parts named, print each figure as it comes, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1000, help="runs of the large store: 4.5 MB each, twice")
    parser.add_argument(
        "--peers", type=Path, help="how the environments of other trackers begin; else they are left out"
    )
    parser.add_argument("--only", choices=[*(part.__name__ for part in PARTS), "peers"], action="append")
    options = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as place, databases.postgresql() as server:
        bench = Bench(Path(place), server, options.rounds, options.runs, options.peers)
        version = databases.server_version(server)
        for part in PARTS:
            if options.only and part.__name__ not in options.only:
                continue
            for figure in part(bench):
                print(figure.row(), flush=True)
                figures.append(figure)
        results = ROOT / "benchmarks" / "results.md"
        if not options.only:
            write(figures, results, version)
        if options.peers and (not options.only or "peers" in options.only):
            _, histories, names = one_history(bench)
            measures = recorders(histories, names, options.peers, bench.new_path)
            write_peers(list(rows(measures, bench.rounds)), results)


if __name__ == "__main__":
    main()
