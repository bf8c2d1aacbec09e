"""What `job sweep` is asked for, says of its combinations, and takes for a result of Dask's."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest

from job.cli import run as command
from job.cli.sweep import Lines, concluded
from job.cluster import is_elsewhere, outcome
from job.errors import SchedulerLostError, SweepError
from job.sweep import Result, Task, combinations, learning_rates, seeds

Output = pytest.CaptureFixture[str]
TASK = Task("s", 0, 0.01, 50, "sqlite:///x", 1.0, 10.0)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            Result(7, "completed", None, 1.25, trained=True),
            "run 7, seed 0, learning rate 0.01: completed in 1.2 s",
        ),
        (Result(7, "completed"), "run 7, seed 0, learning rate 0.01: completed before"),
        (Result(7, "diverged", "at epoch 3"), "run 7, seed 0, learning rate 0.01: diverged: at epoch 3"),
        (Result(None, "held", "another"), "seed 0, learning rate 0.01: held: another"),
    ],
)
def test_a_line_says_what_became_of_a_combination(result: Result, words: str, capsys: Output) -> None:
    lines = Lines(9)
    lines(TASK, Result(None, "failed"))
    capsys.readouterr()
    lines(TASK, result)
    said = words.format("seed 0, learning rate 0.01")
    assert capsys.readouterr().err == f"job: 2 of 9: {said}\n"
    assert lines.results[1] is result


def test_a_sweep_counts_what_its_combinations_came_to(capsys: Output) -> None:
    trained, before = Result(1, "completed", trained=True), Result(2, "completed")
    bad = [Result(3, status) for status in ("diverged", "failed", "failed", "interrupted", "held")]
    assert concluded("s", [trained, before, before, *bad], 10, 2.25, 0) == 1
    assert capsys.readouterr().out.splitlines() == [
        "sweep s: 1 trained now, 2 there before, 1 diverged, 2 failed, 1 interrupted, 1 held, 2 not begun, "
        "in 2.2 s",
        "`job query sweep --name s` and `job plot --sweep s` show it",
    ]
    assert concluded("s", [trained, before], 2, 1, 0) == 0
    assert concluded("s", [trained], 2, 1, signal.SIGINT) == 130
    assert "stopped by SIGINT; the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--learning-rates", "0.1,-1"], "--learning-rates: -1 is not a finite number above 0"),
        (
            ["--scheduler", "tcp://10.0.0.1:8786", "--workers", "2"],
            "--workers is about processes of this machine",
        ),
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


@pytest.mark.parametrize(
    ("scheduler", "elsewhere"),
    [
        ("tcp://127.0.0.1:1", False),
        ("tcp://localhost:1", False),
        ("tcp://[::1]:1", False),
        ("tcp://a:1", True),
    ],
)
def test_only_a_scheduler_of_this_machine_shares_its_files(scheduler: str, elsewhere: bool) -> None:
    assert is_elsewhere(scheduler) == elsewhere


class Future:
    """A task of Dask's that has ended."""

    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://a:1"))

    def __init__(self, result: Any = None, error: Exception | None = None, cancelled: bool = False) -> None:
        self.result, self.exception, self.cancelled = (lambda: result), (lambda: error), (lambda: cancelled)


def test_a_task_comes_to_its_result_its_error_or_a_lost_scheduler() -> None:
    assert outcome(Future(result := Result(1, "completed"))) is result
    assert outcome(Future(error=OSError("disk full"))) == Result(None, "failed", "OSError: disk full")
    with pytest.raises(SchedulerLostError, match="the scheduler at tcp://a:1 went away"):
        outcome(Future(cancelled=True))


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
