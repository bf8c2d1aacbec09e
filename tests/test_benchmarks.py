"""The benchmarks' opponents are honest, and their table says what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bare
from benchmarks.results import Figure, medians, write
from job.data.dataset import load
from job.models import initial_state, make_model


@pytest.mark.parametrize("name", ["paddle", "python"])
def test_a_bare_loop_comes_to_the_bits_of_the_jobs_model(name: str) -> None:
    data = load()
    start = initial_state(len(data.features), 3)
    theirs = bare.LOOPS[name](data, 300, 0.01, start)
    ours = make_model(name, data, 0.01, start).advance(300).state
    assert theirs.weights.tobytes() == ours.weights.tobytes()
    assert (float(theirs.bias), theirs.epoch) == (float(ours.bias), ours.epoch)


def test_measures_take_turns_and_their_medians_count() -> None:
    turns: list[str] = []
    values = iter([1.0, 10.0, 5.0, 30.0, 2.0, 20.0])

    def measure(name: str) -> float:
        turns.append(name)
        return next(values)

    assert medians(3, lambda: measure("a"), lambda: measure("b")) == [2.0, 20.0]
    assert turns == ["a", "b"] * 3


def test_a_goal_is_met_by_the_ratio_the_difference_or_not_at_all(tmp_path: Path) -> None:
    ratio = Figure("a", "b", 3.0, 2.0, "s", 1.5)
    difference = Figure("a", "b", 340.0, 330.0, "MB", 9.0, difference=True)
    slow = Figure("a", "b", 201.0, 200.0, "ms", 2.0, limit=200.0)
    assert (ratio.met, difference.met, slow.met) == (True, False, False)
    write([ratio, difference, slow], tmp_path / "results.md")
    text = (tmp_path / "results.md").read_text()
    assert "| a | b | 3 s | 2 s | **1.5** | 1.5 | yes |" in text
    assert "**10 MB more** | 9 MB more | no |" in text
    assert "| 2, and 200 ms | no |" in text
