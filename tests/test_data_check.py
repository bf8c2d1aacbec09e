"""`job data check` tells everything about a table at once, and the command that it prints trains."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from db.store import Store
from job.cli import run
from job.data.check import check
from job.data.dataset import load
from job.data.reading import Reading
from job.errors import DataError
from tests.conftest import ROOT
from tests.samples import write_csv

Output = pytest.CaptureFixture[str]
ALL = (
    "when,place,a,flat,holes,price\n"
    + "".join(f"2020-01-{i + 1:02},town {i % 3},{i * i % 7}.5,7,{i % 5},{i * 3 % 11}\n" for i in range(20))
    + "2020-01-21,town 1,2.5,7,NA,4\n2020-01-22,town 1,3.5,7,?,5\n"
)


def checked(words: list[str], capsys: Output) -> tuple[int, str]:
    """Exit status and output of `job data check`."""
    status = run(["data", "check", *words])
    out, err = capsys.readouterr()
    assert err == ""
    return status, out


def test_a_table_without_a_problem_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made.csv").write_text("a;b;y\n" + "".join(f"{i},5;{i};{i * i % 7}\n" for i in range(10)))
    assert checked(["made.csv"], capsys) == (
        0,
        "made.csv: 10 rows, separated by semicolons, decimal commas, names in line 1\n"
        "\n"
        "column  type          minimum  maximum  missing  use\n"
        "a       number            0.5      9.5           feature\n"
        "b       whole number        0        9           feature\n"
        "y       whole number        0        4           target\n"
        "\n"
        "train with (8 rows to train, 2 to test):\n"
        "  job train --data made.csv\n",
    )


def test_all_problems_are_told_at_once_each_with_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made.csv").write_text(ALL)
    status, out = checked(["made.csv"], capsys)
    assert status == 1
    said = " ".join(out.split())
    for words in (
        "1. line 2, column 1 (when): '2020-01-01' is a date, not a number, and so in 22 of 22 rows; use",
        "2. line 2, column 2 (place): 'town 0' is not a number, and so in 22 of 22 rows; use --drop place",
        "3. 2 values are missing (holes 2); the first, in line 22, column 5 (holes), is written 'NA'; use "
        "--missing drop or --missing mean",
        "4. column 4 (flat) is 7 in all 16 training rows; its range is zero, so it cannot be normalised; use "
        "--constant drop",
        "flat whole number 7 7 left out, constant",
        "when date left out",
        "place text left out",
        "holes whole number 0 4 2 feature",
        "these options settle it (16 rows to train, 4 to test): job train --data made.csv --drop when,place "
        "--missing drop --constant drop",
    ):
        assert words in said


def test_json_has_the_same_facts(tmp_path: Path, capsys: Output) -> None:
    (path := tmp_path / "made.csv").write_text(ALL)
    status, out = checked([str(path), "--json"], capsys)
    found = json.loads(out)
    assert status == 1
    assert (found["rows"], found["layout"]["delimiter"], found["layout"]["names_line"]) == (22, ",", 1)
    assert found["columns"][3] == {
        "name": "flat",
        "type": "whole number",
        "use": "left out",
        "minimum": 7.0,
        "maximum": 7.0,
        "missing": 0,
        "constant": True,
    }
    assert [each["options"] for each in found["problems"]] == [
        ["--drop when"],
        ["--drop place"],
        ["--missing drop", "--missing mean"],
        ["--constant drop"],
    ]
    assert found["command"] == f"job train --data {path} --drop when,place --missing drop --constant drop"


def test_options_that_are_given_are_heeded(tmp_path: Path, capsys: Output) -> None:
    (path := tmp_path / "made.csv").write_text(ALL)
    given = ["--features", "a,holes", "--missing", "mean", "--test-share", "0.5", "--target", "price"]
    status, out = checked([str(path), *given, "--json"], capsys)
    found = json.loads(out)
    assert (status, found["problems"], found["train_rows"], found["test_rows"]) == (0, [], 11, 11)
    assert shlex.split(found["command"])[4:] == ["--target", "price", *given[:-2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n" + "1,2\n" * 9 + "3\n", "line 11: 1 value, but the table has 2 columns"),
        ("a,y\n" + "".join(f"{i},x\n" for i in range(9)), "choose another --target"),
        (
            ",".join(f"a column of text number {i}" for i in range(99)) + ",a,y\n" + f"{'x,' * 99}1,2\n" * 9,
            "the options for the table have 1,530 bytes; the limit is 1,500; leave columns out of the file",
        ),
        ("when,y\n" + "".join(f"2020-01-0{i},{i}\n" for i in range(1, 9)), "one column only (y)"),
    ],
)
def test_what_no_option_settles_is_to_be_corrected_in_the_file(
    tmp_path: Path, capsys: Output, text: str, message: str
) -> None:
    (path := tmp_path / "made.csv").write_text(text)
    status, out = checked([str(path)], capsys)
    assert status == 1
    assert message in " ".join(out.split())
    assert out.endswith("\ncorrect the file, and check it again\n")
    assert json.loads(checked([str(path), "--json"], capsys)[1])["command"] is None


NUMBERS = [(i * i % 13 + 0.25, i * 7 % 11, i * i % 17) for i in range(20)]


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        (  # a text in the last column
            "a,b,c,near\n" + "".join(f"{a},{b},{c},bay\n" for a, b, c in NUMBERS),
            "--target c --drop near",
            "; to predict c instead, use --target c --drop near, or correct the file",
        ),
        (  # beside it one value in all rows
            "a,b,c,same,near\n" + "".join(f"{a},{b},{c},5,bay\n" for a, b, c in NUMBERS),
            "--target c --drop near --constant drop",
            "; to predict c instead, use --target c --drop near, or correct the file",
        ),
        (
            "a,b,c,note\n" + "".join(f"{a},{b},{c},\n" for a, b, c in NUMBERS),
            "--target c --drop note",
            "column 4 (note): no row has a value; to predict c instead, use --target c --drop note",
        ),
        (
            "a:b:c\n" + "".join(f"{a}:{b}:{c}\n" for a, b, c in NUMBERS),
            "--delimiter :",
            "'0.25:0:0' is not a number, and so in 20 of 20 rows; use --delimiter :",
        ),
        (  # each row lacks a value
            "a,b,c\n" + "".join(f"{'' if b % 2 else a},{b if b % 2 else ''},{c}\n" for a, b, c in NUMBERS),
            "--missing mean",
            "use --missing mean or --missing drop",
        ),
        (
            "a;b;c\n" + "".join(f"{a};{b};{c + 1} 500\n" for a, b, c in NUMBERS),
            "--thousands space",
            "use --thousands space",
        ),
        (
            "".join(f"{a} {b} {c}\n" for a, b, c in NUMBERS),
            "--no-header",
            "line 1: the columns have no names; to call them column_1 to column_3, use --no-header",
        ),
    ],
)
def test_the_command_settles_it(
    tmp_path: Path, capsys: Output, sqlite_url: str, text: str, words: str, message: str
) -> None:
    (path := tmp_path / "made.csv").write_text(text)
    _, out = checked([str(path)], capsys)
    assert message in " ".join(out.split())
    command = shlex.split(json.loads(checked([str(path), "--json"], capsys)[1])["command"])
    assert command == ["job", "train", "--data", str(path), *words.split()]
    assert run([*command[1:], "--epochs", "3", "--model", "python", "--database-url", sqlite_url]) == 0


def test_a_named_target_and_a_few_wrong_cells_are_the_users(tmp_path: Path, capsys: Output) -> None:
    rows = "".join(f"{a},{b},{c},bay\n" for a, b, c in NUMBERS)
    (path := tmp_path / "made.csv").write_text(f"a,b,c,near\n{rows}")
    few = tmp_path / "few.csv"
    few.write_text(
        "a,b,c\n" + "".join(f"{a},{b},{c}\n" for a, b, c in NUMBERS) + "1,2,none at all\n3,4,inf\n"
    )
    for words in (["--target", "near"], []):
        _, out = checked([str(path if words else few), *words], capsys)
        assert "correct the file, or choose another --target" in " ".join(out.split())


def test_points_that_may_separate_thousands_are_noted(tmp_path: Path, capsys: Output) -> None:
    (path := tmp_path / "made.csv").write_text(
        "a;y\n" + "".join(f"{i}.500;{i * i % 7}\n" for i in range(1, 20))
    )
    assert "the point in '1.500' is taken for a decimal point" in " ".join(
        checked([str(path)], capsys)[1].split()
    )
    for more in ("1.5;3\n", "0.500;3\n"):
        path.write_text(path.read_text().split("20.")[0] + more)
        assert "taken for" not in checked([str(path)], capsys)[1]


def test_what_is_no_table_is_one_line(tmp_path: Path, capsys: Output) -> None:
    (path := tmp_path / "made.csv").write_text("<html>\n")
    assert run(["data", "check", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"job: error: {path}: line 1: an HTML page, not the table that it shows; download the file itself\n"
    )


def test_doubts_are_told_and_are_no_problems(tmp_path: Path, capsys: Output) -> None:
    (path := tmp_path / "made.csv").write_text("a,y\n" + "".join(f"{i * i % 11},{i}\n" for i in range(30)))
    status, out = checked([str(path)], capsys)
    assert status == 0
    assert "1. the values of y in the training and in the test rows do not overlap" in " ".join(out.split())


@pytest.mark.parametrize("screen", [60, 80, 100])
def test_every_line_fits_and_no_name_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, screen: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(screen))
    monkeypatch.chdir(tmp_path)
    names = ["x" * 26, "a rather long name of a column, with a unit (kg/m^3)", "房价、千美元", "y"]
    lines = [",".join(f'"{name}"' for name in names)]
    lines += [f"{i / 1e9},{-i * 1e300},?,{i * i % 7}" for i in range(20)]
    Path("a table with a long name, from somewhere.csv").write_text("\n".join(lines))
    _, out = checked(["a table with a long name, from somewhere.csv"], capsys)
    assert max(map(cell_len, out.splitlines())) <= screen
    assert all(word in out for name in names for word in name.split())


signs = st.sampled_from(" \t;|,.'_\u202f\uff0c")
name = st.text("ab ,\"'-$数", min_size=1).map(str.strip).filter(bool)
names = st.lists(name, max_size=4, unique=True).map(tuple)
readings: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    delimiter=st.none() | signs,
    decimal=st.sampled_from([None, ".", ","]),
    thousands=st.none() | signs,
    header=st.booleans(),
    features=names,
    drop=names,
    missing=st.sampled_from([None, "drop", "mean"]),
    constant=st.sampled_from([None, "drop"]),
    test_share=st.floats(0.01, 0.99),
    shuffle=st.none() | st.integers(0, 2**32 - 1),
)


@pytest.mark.thorough
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options=readings)
def test_the_words_of_options_give_the_options(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def look(path: Path, reading: Reading, target: str | None) -> None:
        given.append(reading)
        raise DataError("seen")

    monkeypatch.setattr("job.cli.data.examine", look)
    try:
        reading = Reading(**options)
    except DataError:
        return
    run(["data", "check", "made.csv", *reading.words])
    assert given == [reading]


@pytest.mark.thorough
@settings(max_examples=40)
@given(st.data())
def test_the_command_reads_the_table_whatever_is_wrong_with_it(data: st.DataObject) -> None:
    """Columns that no option can read are left out; the target and one feature are whole."""
    kinds: dict[str, Callable[[int], str]] = {
        "fine": lambda i: f"{i * i % 13}.25",
        "text": lambda i: f"town {i}",
        "date": lambda i: f"2020-01-{i % 28 + 1:02}",
        "holes": lambda i: "NA" if i % 9 == 4 else str(i % 5),
        "empty": lambda i: "",
        "flat": lambda i: "7",
        "huge": lambda i: f"{'-' * (i % 2)}1.5e308",
        "minus": lambda i: f"\u2212{i % 4}",
    }
    chosen = data.draw(st.lists(st.sampled_from(sorted(kinds)), max_size=6))
    columns = ["fine", *chosen, "fine"]
    names = data.draw(st.booleans())
    delimiter = data.draw(st.sampled_from(",;\t|"))
    lines = [delimiter.join(f"{kind} {i}, it is" for i, kind in enumerate(columns))] if names else []
    lines = [line.replace(",", " and") if delimiter == "," else line for line in lines]
    lines += [delimiter.join(kinds[kind](i) for kind in columns) for i in range(40)]
    with tempfile.TemporaryDirectory(prefix="ledger-check-") as directory:
        (path := Path(directory) / "made.csv").write_text("\n".join(lines) + "\n")
        found = check(path, Reading())
        assert found.dataset is not None
        dataset = load(path, None, found.reading)
        assert dataset.train_x.tobytes() == found.dataset.train_x.tobytes()
        if not found.problems:
            assert found.reading == Reading()


def test_the_command_trains(tmp_path: Path, capsys: Output, sqlite_url: str) -> None:
    (path := tmp_path / "made.csv").write_text(ALL)
    _, out = checked([str(path), "--json"], capsys)
    words = shlex.split(json.loads(out)["command"])[1:]
    assert run([*words, "--epochs", "3", "--model", "python", "--database-url", sqlite_url]) == 0
    with Store(sqlite_url) as store:
        assert [feature.name for feature in store.run().dataset.features] == ["a", "holes"]


def test_readme_shows_what_the_check_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "prices.csv", tmp_path)
    _, out = checked(["prices.csv"], capsys)
    assert f"$ job data check prices.csv\n{out}$ job train" in (ROOT / "README.md").read_text()


def test_a_long_command_is_printed_as_a_shell_reads_it(tmp_path: Path, capsys: Output) -> None:
    names = [f"a column of text number {i}" for i in range(9)]
    path = write_csv(tmp_path / "made.csv")
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([",".join([*names, head]), *(",".join([*["x"] * 9, row]) for row in rows)]))
    _, out = checked([str(path)], capsys)
    words = shlex.split(out.partition("to test):\n")[2].replace("\\\n", ""))
    expected = json.loads(checked([str(path), "--json"], capsys)[1])["command"]
    assert words == shlex.split(expected)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("id,a,id,y", "--drop column_3"),  # the first of them is kept
        ("a,y,b,y", "--drop column_2"),  # the last column stays the target
        ("a,,id,id", "--drop column_2,column_3"),
    ],
)
def test_columns_that_no_name_tells_apart_are_dropped_by_position(
    tmp_path: Path, capsys: Output, names: str, words: str
) -> None:
    (path := tmp_path / "made.csv").write_text(
        names + "".join(f"\n{i},{i % 5},{i % 3},{i % 7}" for i in range(9))
    )
    found = json.loads(checked([str(path), "--json"], capsys)[1])
    assert found["command"] == f"job train --data {path} {words}"
    assert found["columns"][3]["use"] == "target"
    assert checked([str(path), *words.split()], capsys)[0] == 0
