"""The table and the pages give the measured figures."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import record, table
from benchmarks.results import Figure, in_turns, quartiles, write, write_peers
from tests.conftest import ROOT
from tests.samples import history

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
    memory = Figure("m", "n", [340.0], [330.0], "MB", 9.0, difference=True, reason="It is large.")
    write([figure, query, memory], tmp_path / "results.md", "16.4")
    text = (tmp_path / "results.md").read_text()
    assert "| a | **4 s** (2.5 to 5) | b | **2 s** (1.5 to 3) | **3** (1.62 to 3.5) | 3.5 | 3 | met |" in text
    assert "| **1.5** (1.5 to 1.5) | 2, and 200 ms | 3 | met |" in text
    assert "| **10 MB more** (10 to 10) | 9 MB more | 1 | not met |" in text
    assert re.findall(r"(?m)^\* .+, against .+", text) == ["* m, against n: It is large."]
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


def said(seconds: float, **other: Any) -> dict[str, Any]:
    return {"seconds": seconds, "megabytes": 2.0, "read": 0.5, "found": "all", "version": "1.2"} | other


def test_the_table_of_other_trackers_has_ratios_and_what_cannot_be_done() -> None:
    measures: dict[str, table.Measure] = {"ours": lambda: said(1.0, megabytes=1.0)}
    measures |= {name: lambda: said(4.0) for name in table.NAMES}
    measures["wandb"] = lambda: said(4.0, read=None, found="no reader")
    measures["aim"] = lambda: {"error": "not installed"}
    calls: list[int] = []
    measures["mlflow"] = lambda: calls.append(1) or said(500.0)  # type: ignore[func-returns-value]
    lines = list(table.rows(measures, rounds=3))
    cells = "**4 s** (4 to 4) | **2 MB** (2 to 2) | **0.25** (0.25 to 0.25) | **0.5** (0.5 to 0.5)"
    assert f"| {table.NAMES['trackio']} (1.2) | {cells} | **500 ms** (500 to 500) | all | 3 |" in lines
    assert f"| {table.NAMES['wandb']} (1.2) | {cells} |  | no reader | 3 |" in lines
    assert f"| {table.NAMES['aim']} | not installed | | | | | | |" in lines
    assert any("**500 s** | **2 MB** | **0.002** |" in line for line in lines)
    assert calls == [1], "a slow tracker has one round"
    *rows, blank, seconds, megabytes = lines
    assert {line.count("|") for line in rows} == {9}
    assert blank == ""
    assert "time of Trackio" in seconds or "time of W&B" in seconds
    assert "needs 0.25 and the CSV file 1. The goal, at most 0.05, is not met." in seconds
    assert "needs 0.5 and the CSV file 1. The goal, at most 0.5, is met." in megabytes


@pytest.mark.process
def test_the_same_history_goes_to_each_tracker_and_comes_back(tmp_path: Path) -> None:
    paths = (tmp_path / str(number) for number in itertools.count())
    histories = {model: history(300) for model in ("paddle", "python")}
    names = ("train", "test", "x0", "x1", "x2", "bias")
    measures = table.recorders(histories, names, tmp_path / "none", lambda: next(paths))
    assert measures["aim"]() == {"error": "not installed"}
    for name in ("csv", "ours"):
        answer = measures[name]()
        assert answer["found"] == "all"
        assert answer["megabytes"] > 0
    (rows,) = (file.read_text().splitlines() for file in tmp_path.glob("*/curves.csv"))
    assert rows[0] == "epoch," + ",".join(f"{model}/{name}" for model in histories for name in names)
    assert len(rows) == 301
    assert np.float32(rows[3].split(",")[2]) == histories["paddle"].test_loss[2]


@pytest.mark.parametrize(
    ("read", "found"),
    [
        ([0.1, 0.2], "all"),
        ([0.1], "1 of 2 values"),
        ([np.nextafter(np.float32(0.1), np.float32(1)), 0.2], "other float32 values"),
    ],
)
def test_what_is_read_back_is_judged_by_the_bits_of_float32(read: list[float], found: str) -> None:
    curve = np.array([0.1, 0.2], np.float32).tolist()
    assert record.found(curve, read) == found


def test_either_table_is_written_without_touching_the_other(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    first, second = (Figure(what, "b", [1.0], [4.0], "s") for what in ("first", "second"))
    write([first], path, "16.4")
    write_peers(["| old |"], path)
    write_peers(["| new |"], path)
    write([second], path, "16.4")
    text = path.read_text()
    assert "| second |" in text
    assert text.endswith("\n| new |\n")
    assert text.count("\n## ") == 1
    assert "| first |" not in text
    assert "| old |" not in text
