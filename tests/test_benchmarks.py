"""The table and the pages give the measured figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.results import Figure, in_turns, quartiles, write
from tests.conftest import ROOT

RESULTS = (ROOT / "benchmarks" / "results.md").read_text()


def test_measures_take_turns_in_each_round() -> None:
    turns: list[str] = []
    values = iter([1.0, 10.0, 5.0, 30.0, 2.0, 20.0])

    def measure(name: str) -> float:
        turns.append(name)
        return next(values)

    assert in_turns(3, lambda: measure("a"), lambda: measure("b")) == [[1.0, 5.0, 2.0], [10.0, 30.0, 20.0]]
    assert turns == ["a", "b"] * 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [([5, 3, 1, 4, 2], (2, 3, 4)), ([5, 1, 4, 2], (1.75, 3, 4.25)), ([7], (7, 7, 7))],
)
def test_quartiles_are_those_of_the_sorted_values(
    values: list[float], expected: tuple[float, float, float]
) -> None:
    assert quartiles(values) == expected


@pytest.mark.parametrize(
    ("ours", "result"),
    [
        ([10, 11, 12, 13, 90], "met"),  # the upper quartile is on the goal
        ([10, 11, 12, 14, 14], "within the spread"),
        ([10, 13, 14, 15, 16], "within the spread"),  # the lower quartile is on it
        ([10, 14, 14, 15, 16], "not met"),
    ],
)
def test_a_goal_is_met_or_missed_only_outside_the_quartiles(ours: list[float], result: str) -> None:
    ten, hundred, thousand = [10.0] * 5, [100.0] * 5, [1000.0] * 5
    assert Figure("a", "b", ours, ten, "s", 1.3).result == result
    assert Figure("a", "b", [100 + x for x in ours], hundred, "MB", 13, difference=True).result == result
    assert Figure("a", "b", ours, thousand, "ms", 2.0, limit=13).result == result
    assert Figure("a", "b", ours, ten, "s").result == ""


def test_a_ratio_is_taken_within_a_round_and_the_table_shows_its_spread(tmp_path: Path) -> None:
    figure = Figure("a", "b", [1.0, 4.0, 6.0], [4.0, 1.0, 2.0], "s", 3.5)
    query = Figure("q", "r", [150.0] * 3, [100.0] * 3, "ms", 2.0, limit=200.0)
    memory = Figure("m", "n", [340.0], [330.0], "MB", 9.0, difference=True)
    write([figure, query, memory], tmp_path / "results.md", "16.4")
    text = (tmp_path / "results.md").read_text()
    assert "| a | **4 s** (2.5 to 5) | b | **2 s** (1.5 to 3) | **3** (1.62 to 3.5) | 3.5 | 3 | met |" in text
    assert "| **1.5** (1.5 to 1.5) | 2, and 200 ms | 3 | met |" in text
    assert "| **10 MB more** (10 to 10) | 9 MB more | 1 | not met |" in text
    for fact in ("cpu count: ", "platform: ", "python version: 3.", "SQLite 3.", "PostgreSQL 16.4", "numpy "):
        assert f"\n* {fact}" in text


@pytest.mark.parametrize("page", ["docs/scale.md", "docs/sweep.md", "docs/visualdl.md"])
def test_a_figure_that_links_to_the_results_is_in_the_line_that_it_names(page: str) -> None:
    text = (ROOT / page).read_text()
    whats = dict(re.findall(r'^\[(.+)\]: \.\./benchmarks/results\.md "(.+)"$', text, re.MULTILINE))
    links = re.findall(r"\[([^]]+)\]\[([^]]+)\]", text)
    assert {link for _, link in links} == set(whats)
    wrong = []
    for figure, link in links:
        lines = [line for line in RESULTS.splitlines() if line.startswith(f"| {whats[link]} |")]
        cells = {cell.strip("* ").partition("** (")[0] for line in lines for cell in line.split("|")}
        wrong += [] if figure in cells else [f"{figure} is not in {lines or whats[link]}"]
    assert not wrong, "\n".join(wrong)
