"""The options of `job sweep`, what it trains, and what it prints."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from db.store import Store
from job.cli import run as command
from job.cli.sweep import log_result, print_outcome
from job.data.dataset import DEFAULT_DATA, Dataset, load
from job.errors import SweepError
from job.stop import StopRequest
from job.sweep.tasks import Result, Task, combinations, learning_rates, seeds

Output = pytest.CaptureFixture[str]
TASK = Task("s", 0, 0.01, 50, "sqlite:///x", 1.0, 10.0)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Result(7, "completed", None, 1.25, trained=True), "run 7, {}: completed in 1.2 s"),
        (Result(7, "completed"), "run 7, {}: completed before"),
        (Result(7, "diverged", "at epoch 3"), "run 7, {}: diverged: at epoch 3"),
        (Result(None, "held", "another"), "{}: held: another"),
    ],
)
def test_a_line_says_what_became_of_a_combination(result: Result, words: str, capsys: Output) -> None:
    log_result(TASK, result, 2, 9)
    said = words.format("seed 0, learning rate 0.01")
    assert capsys.readouterr().err == f"job: 2 of 9: {said}\n"


def test_a_line_in_json_has_the_combination_and_its_time(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_LOG_FORMAT", "json")
    log_result(TASK, Result(7, "completed", None, 1.2345, trained=True), 2, 9)
    line = json.loads(capsys.readouterr().err)
    names = ("event", "run", "seed", "learning_rate", "status", "seconds")
    assert [line[name] for name in names] == ["sweep_run", 7, 0, 0.01, "completed", 1.234]


def test_a_sweep_counts_what_its_combinations_came_to(capsys: Output) -> None:
    trained, before = Result(1, "completed", trained=True), Result(2, "completed")
    bad = [Result(3, status) for status in ("diverged", "failed", "failed", "interrupted", "held")]
    assert print_outcome("s", [trained, before, before, *bad], 10, 2.25, 0) == 1
    assert capsys.readouterr().out.splitlines() == [
        "sweep s: 1 trained now, 2 completed before, 1 diverged, 2 failed, 1 interrupted, 1 held, "
        "2 not begun, in 2.2 s",
        "`job query sweep --name s` and `job plot --sweep s` show the results",
    ]
    assert print_outcome("s", [trained, before], 2, 1, 0) == 0
    assert print_outcome("s", [trained], 2, 1, signal.SIGINT) == 130
    assert "stopped by SIGINT; the same command continues" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--learning-rates", "0.1,-1"], "--learning-rates: -1 is not a finite number above 0"),
        (["--workers", "2"], "--workers starts processes of this machine"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_line(
    words: list[str], complaint: str, sqlite_url: str, capsys: Output
) -> None:
    scheduler = ["--scheduler", "tcp://127.0.0.1:1"]
    assert command(["sweep", *words, *scheduler, "--database-url", sqlite_url]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


class Cluster:
    """Replaces Dask's: every task ends with the next of the given results."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *results: Result | Exception) -> None:
        self.asked: list[object] = []
        self.tasks: list[Task] = []
        self.results = results
        monkeypatch.setattr("job.cli.sweep.load_ahead", lambda models: None)
        monkeypatch.setattr("job.cli.sweep.client_of", self.client_of)
        monkeypatch.setattr("job.cli.sweep.run_all", self.run_all)

    @contextmanager
    def client_of(self, *asked: object) -> Iterator[None]:
        self.asked.append(asked)
        yield

    def run_all(
        self, client: None, tasks: list[Task], dataset: Dataset, stop: StopRequest, told: Any
    ) -> None:
        self.tasks = tasks
        for task, result in zip(tasks, self.results, strict=False):
            if isinstance(result, Exception):
                raise result
            told(task, result)


def sweep(url: str, *words: str) -> int:
    return command(["sweep", "--database-url", url, *words])


@pytest.mark.sqlite
def test_every_seed_is_trained_with_every_rate_and_counted(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = Result(1, "completed", None, 1.0, trained=True)
    cluster = Cluster(monkeypatch, done, done, done, Result(None, "held", "why"))
    words = ("--seeds", "0:2", "--learning-rates", "0.1,0.2", "--epochs", "7", "--heartbeat-timeout", "3")
    assert sweep("sqlite:///ledger.db", *words, "--workers", "3", "--database-timeout", "4") == 1
    assert cluster.asked == [(None, 3)]
    chosen = [(task.learning_rate, task.seed) for task in cluster.tasks]
    assert chosen == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]
    # Workers have their own directory.
    expected = ("housing-7", 7, f"sqlite:///{tmp_path}/ledger.db", 3.0, 4.0)
    for task in cluster.tasks:
        common = (task.sweep, task.epochs, task.database_url, task.heartbeat_timeout, task.database_timeout)
        assert common == expected
    assert len({task.stop for task in cluster.tasks}) == 1
    said = capsys.readouterr()
    counts = r"sweep housing-7: 3 trained now, 1 held, in \d{1,2}\.\d s"
    assert re.fullmatch(counts, said.out.splitlines()[0])
    lines = said.err.splitlines()
    assert lines[0] == "job: sweep housing-7: 4 runs of 7 epochs"
    assert lines[-1] == "job: 4 of 4: seed 1, learning rate 0.2: held: why"


def test_another_sweep_of_the_name_is_not_stopped_with_this_one(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = set()
    for _ in range(2):
        cluster = Cluster(monkeypatch, Result(1, "completed"))
        assert sweep(sqlite_url, "--seeds", "5", "--name", "s") == 0
        assert cluster.tasks[0].sweep == "s"
        stops.add(cluster.tasks[0].stop)
    assert len(stops) == 2


def test_a_cluster_that_breaks_is_said_unless_the_sweep_was_stopped(
    sqlite_url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(monkeypatch, RuntimeError("it broke"))
    assert sweep(sqlite_url) == 1
    assert "it broke" in capsys.readouterr().err

    def stopped(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        cluster.run_all(*arguments)

    monkeypatch.setattr("job.cli.sweep.run_all", stopped)
    assert sweep(sqlite_url) == 143
    said = capsys.readouterr()
    assert "20 not begun" in said.out
    assert "stopped by SIGTERM; the same command continues" in said.err


def test_a_sweep_stays_with_its_table_and_its_file_with_this_machine(
    sqlite_url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(monkeypatch, Result(1, "completed"))
    assert sweep(sqlite_url, "--scheduler", "tcp://dask.example:8786") == 2
    assert "a SQLite store is a file on this machine" in capsys.readouterr().err
    assert sweep(sqlite_url, "--seeds", "5", "--scheduler", "tcp://127.0.0.1:8786") == 0
    with Store(sqlite_url) as store:
        row = load(DEFAULT_DATA, "LSTAT").row()
        store.start_run(row, epochs=9, learning_rate=0.1, seed=0, environment={}, sweep="s")
    assert sweep(sqlite_url, "--seeds", "5", "--name", "s", "--target", "LSTAT") == 0
    assert sweep(sqlite_url, "--seeds", "5", "--name", "s") == 2
    assert "the sweep s has runs of another table or target" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (0, 0)])
def test_a_worker_ends_with_the_status_of_its_signal(
    number: int, status: int, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def work(scheduler: str) -> int:
        asked.append(scheduler)
        return number

    monkeypatch.setattr("job.cli.sweep.work", work)
    assert command(["worker", "tcp://a:1"]) == status
    assert asked == ["tcp://a:1"]
    assert capsys.readouterr().err.splitlines() == ["job: a worker of tcp://a:1", "job: the worker has ended"]


@pytest.mark.parametrize(
    ("written", "meant"), [("0:3", [0, 1, 2]), ("7", [7]), ("1,5,1", [1, 5]), ("0:2, 9", [0, 1, 9])]
)
def test_seeds_are_ranges_and_lists(written: str, meant: list[int]) -> None:
    assert seeds(written) == meant


@pytest.mark.parametrize(
    "written", ["", "a", "3:3", "5:2", "-1", "0:4294967297", "1.5", "0:", ":3", "0:200000"]
)
def test_what_are_no_seeds_is_said(written: str) -> None:
    with pytest.raises(SweepError, match="--seeds"):
        seeds(written)


def test_learning_rates_are_checked_one_by_one() -> None:
    assert learning_rates("0.1,0.01, 0.1", float) == [0.1, 0.01]
    with pytest.raises(SweepError, match="--learning-rates"):
        learning_rates("fast", float)
    with pytest.raises(SweepError, match="100,000 runs"):
        combinations(list(range(1000)), [float(i) for i in range(1, 102)])


def test_the_default_stores_directory_is_made(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    Cluster(monkeypatch, Result(1, "completed", trained=True))
    assert command(["sweep", "--seeds", "0"]) == 0
    with Store("sqlite:///results/ledger.db") as store:
        assert store.runs() == []
