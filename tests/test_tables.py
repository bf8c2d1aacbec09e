"""Tables fit the screen, and no column, key or number is lost or cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from job.cli.output import MEASURED, print_table, print_text
from job.cli.tables import NARROW, Columns, heading, wrapped

words = st.text(st.sampled_from("abc数é_"), min_size=1, max_size=12)
texts = st.lists(words, max_size=9).map(" ".join)
numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr)
SCREENS = (60, 80, 100, 200)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[bool], list[list[str]]]:
    numeric = draw(st.lists(st.booleans(), min_size=1, max_size=14))
    names = draw(st.lists(words, min_size=len(numeric), max_size=len(numeric)))
    row = st.tuples(*(numbers if number else texts for number in numeric)).map(list)
    return names, numeric, draw(st.lists(row, min_size=1, max_size=4))


@pytest.mark.thorough
@pytest.mark.parametrize("screen", SCREENS)
@given(table=tables())
def test_every_line_fits_and_every_letter_is_there(
    screen: int, table: tuple[list[str], list[bool], list[list[str]]]
) -> None:
    names, numeric, rows = table
    layout = Columns(names, numeric, rows, screen)
    groups = [rows[i : i + layout.at_once] for i in range(0, len(rows), layout.at_once)]
    head, lines = layout.head(), [line for group in groups for line in layout.lines(*group)]
    assert all(cell_len(line) <= screen for line in [*head, *lines])
    heads = names * len(groups) if layout.widths is None else names
    expected = [*heads, *(cell for row in rows for cell in row)]
    assert sorted("".join(head + lines).replace(" ", "")) == sorted("".join(expected).replace(" ", ""))
    for group in groups:
        shown = " ".join(layout.lines(*group)).split()
        assert all(
            cell in shown for row in group for cell, number in zip(row, numeric, strict=True) if number
        )


@given(texts, st.integers(1, 40))
def test_a_wrapped_text_fits_and_its_words_are_whole_where_they_can_be(text: str, width: int) -> None:
    width = max(width, 2)  # a wide character takes two
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if all(cell_len(word) <= width for word in text.split(" ")):
        assert " ".join(lines).split() == text.split()


def test_names_of_columns_are_cut_after_underscores() -> None:
    assert heading("within_0_1_percent", 8) == ["within_", "0_1_", "percent"]
    assert heading("run", 2) == ["run"]


def test_a_table_that_fits_is_as_wide_as_its_content() -> None:
    layout = Columns(["run", "a_name"], [True, False], [["1", "x"], ["10", "y z"]], 80)
    assert [*layout.head(), *layout.lines(["1", "x"])] == ["run  a_name", "  1  x"]


def test_texts_are_narrowed_before_a_row_is_put_on_its_side() -> None:
    row = ["1", "all of it was not what it should have been"]
    layout = Columns(["run", "why"], [True, False], [row], 40)
    assert layout.lines(row) == ["  1  all of it was not what it should", "     have been"]
    narrow = Columns(["run", "why"], [True, False], [row], 3 + 2 + NARROW - 1)
    assert narrow.head() == []
    assert narrow.lines(row)[0] == "run  1"


def test_rows_on_their_side_stand_beside_each_other() -> None:
    names = [f"quantity_{i}" for i in range(8)]
    rows = [[f"{i}.{j}" * 4 for j in range(8)] for i in range(4)]
    layout = Columns(names, [True] * 8, rows, 60)
    assert layout.at_once == 3
    assert layout.lines(*rows[:3])[:2] == [
        "quantity_0  0.00.00.00.0  1.01.01.01.0  2.02.02.02.0",
        "quantity_1  0.10.10.10.1  1.11.11.11.1  2.12.12.12.1",
    ]
    assert layout.lines(rows[3])[0] == "quantity_0  3.03.03.03.0"
    long = Columns([*names, "why"], [True] * 8 + [False], [[*row, "x " * 21] for row in rows], 60)
    assert long.at_once == 1
    assert Columns(names, [True] * 8, [], 20).at_once == 1


def test_columns_without_a_value_are_left_out_of_a_table_that_is_too_wide(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names, row = ["run", "run", "digest"], [1, None, "0123456789ab"]
    for screen, expected in (
        (23, ["run  run  digest", "  1       0123456789ab"]),
        (21, ["run  digest", "  1  0123456789ab", "no row has a value", "in: run"]),
    ):
        monkeypatch.setenv("COLUMNS", str(screen))
        print_table(names, [row])
        assert capsys.readouterr().out.splitlines() == expected


def test_columns_that_matter_least_are_left_out_one_by_one_of_every_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[i % 10, "b" * 8, "c" * 8, "d" * 8] for i in range(MEASURED + 2)]
    for screen, left, note in (
        (33, "bcd", []),
        (32, "bc", ["no room for: d"]),
        (22, "c", ["no room for: d, b"]),
    ):
        monkeypatch.setenv("COLUMNS", str(screen))
        print_table(["run", *"bcd"], rows, spare=["d", "b"])
        _, *lines = capsys.readouterr().out.splitlines()
        assert lines[len(rows) :] == note
        expected = [[str(row[0]), *(name * 8 for name in left)] for row in rows]
        assert [line.split() for line in lines[: len(rows)]] == expected


def test_without_a_terminal_a_table_has_a_line_for_each_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(["a" * 70, "b" * 70], [["x" * 100, "y"]])
    print_text("word " * 50)
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("screen", SCREENS)
def test_columns_says_how_wide_the_screen_is(
    screen: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(screen))
    names = [f"a_long_name_of_column_{i}" for i in range(8)]
    print_table(names, [[i * 1e9 + 0.123456 for i in range(8)]], title="title " * 40)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= screen
