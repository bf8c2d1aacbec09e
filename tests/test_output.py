"""What is stored is printed, but nothing stored can control a terminal or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from db.history import History
from db.model_source import ModelSource
from db.store import Store
from job import log
from job.cli import run
from job.cli.output import loss, moment, print_json, print_line, print_table
from job.cli.query import Format, print_answer
from job.output_files import OutputError, write
from tests.samples import dataset_row, history

Output = pytest.CaptureFixture[str]
HOSTILE = "\x1b]0;mine\x07\x1b[2J\x9b31m\u202eevil\u2069\x7f\udcff\r\n\tend"
SHOWN = r"\x1b]0;mine\x07\x1b[2J\x9b31m\u202eevil\u2069\x7f\udcff\r\n\tend"


def test_a_terminal_gets_control_characters_escaped(capsys: Output) -> None:
    print_line(HOSTILE)
    print_table([HOSTILE, "[/red]"], [[HOSTILE, "[bold]数据 é"]])
    log.log_line(HOSTILE)
    said = capsys.readouterr()
    line, header, row = said.out.splitlines()
    assert line == SHOWN
    assert header.rstrip() == f"{SHOWN}  [/red]"
    assert row == f"{SHOWN}  [bold]数据 é"
    assert said.err == f"job: {SHOWN}\n"


INVISIBLE = "\xad\u061c\u180e\u200b\u200e\u200f\u202a\u202c\u2028\u2029\u2060\u2066\ufeff\ufff9\U000e0041"
READABLE = "数据\u3000é e\u0301 Ω\xa0שלם 👩\u200d🔬 ❤\ufe0f می\u200cشود 🇨🇳"


def test_a_terminal_gets_no_invisible_characters_but_every_script(capsys: Output) -> None:
    print_line(INVISIBLE)
    print_table([READABLE], [[READABLE]])
    print_json([INVISIBLE, READABLE])
    line, header, row, *as_json = capsys.readouterr().out.splitlines()
    assert line == INVISIBLE.encode("unicode_escape").decode()
    assert (header.rstrip(), row.rstrip()) == (READABLE, READABLE)
    assert not set("".join(as_json)) & set(INVISIBLE)
    assert json.loads("".join(as_json)) == [INVISIBLE, READABLE]


def test_errors_and_tracebacks_are_escaped_too(capsys: Output) -> None:
    assert run(["show", "--database-url", "sqlite:///\x1b[2J/x.db", "--debug"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert said.splitlines()[0] == "Traceback (most recent call last):"
    assert (
        said.splitlines()[-1] == r"job: error: there is no store at \x1b[2J/x.db yet; `job train` makes one"
    )


def test_json_is_exact_and_free_of_control_characters(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    print_json({"數": HOSTILE, "at": datetime(2026, 1, 2, tzinfo=UTC)})
    monkeypatch.setenv("JOB_LOG_FORMAT", "json")
    log.log_line(HOSTILE)
    said = capsys.readouterr()
    assert json.loads(said.out) == {"數": HOSTILE, "at": "2026-01-02T00:00:00+00:00"}
    assert '"數"' in said.out
    assert json.loads(said.err)["message"] == HOSTILE
    for text in (said.out, said.err):
        assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == []


def test_numbers_stand_to_the_right_and_nothing_is_an_empty_cell(capsys: Output) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 999_000, tzinfo=UTC)
    print_table(
        ["number", "text", "at"], [[0.5, "a", at], [None, "bcd", None], [22.25, None, at]], title="Table"
    )
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "Table",
        "number  text  at",
        "   0.5  a     2026-01-02 03:04:05Z",
        "        bcd",
        " 22.25        2026-01-02 03:04:05Z",
    ]


def test_a_table_in_a_pipe_is_as_wide_as_it_must_be(capsys: Output) -> None:
    print_table(["a", "b"], [["x" * 150, "y" * 30]])
    print_line("z" * 1000)
    assert capsys.readouterr().out.splitlines()[1:] == ["x" * 150 + "  " + "y" * 30, "z" * 1000]


def test_a_long_cell_is_neither_cut_nor_does_it_widen_the_others(capsys: Output) -> None:
    print_table(["a", "b"], [["x" * 10_000, 1], ["y", 2]])
    header, long, short = capsys.readouterr().out.splitlines()
    assert long == "x" * 10_000 + "  1"
    assert (len(header), short) == (203, "y" + " " * 199 + "  2")


def test_wide_characters_take_two_columns(capsys: Output) -> None:
    print_table(["a", "b"], [["数据", 1], ["xy", 2]])
    assert capsys.readouterr().out.splitlines() == ["a     b", "数据  1", "xy    2"]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_rows_are_printed_before_the_last_has_arrived(capsys: Output, form: Format) -> None:
    printed = 0

    def rows() -> Iterator[tuple[object, ...]]:
        nonlocal printed
        yield "i", "t"
        for i in range(3000):
            yield i, f"text {i}"
            printed += len(capsys.readouterr().out)

    print_answer(rows(), form)
    assert printed > 20_000


def test_a_table_is_aligned_by_its_first_thousand_rows(capsys: Output) -> None:
    print_table(["n"], [[i] for i in [*range(1000), 12345]])
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[1], lines[1000], lines[1001]) == ("  n", "  0", "999", "12345")


@pytest.mark.parametrize(("count", "text"), [(0, "[]"), (2, None)])
def test_streamed_json_is_the_json_of_the_whole(capsys: Output, count: int, text: str | None) -> None:
    rows = [(i, {"b": [0.5, None]}, 'q"') for i in range(count)]
    print_answer(iter([("a", "a", "c"), *rows]), "json")
    whole = [dict(zip(("a", "a_2", "c"), row, strict=True)) for row in rows]
    assert capsys.readouterr().out == (text or json.dumps(whole, indent=2)) + "\n"


def test_a_loss_has_what_float32_holds() -> None:
    assert [loss(value) for value in (0.1, 999_999.5, 1e6, -1e6, -0.5, float("nan"))] == [
        *("0.10000000", "999999.50000000", "1.0000000e+06", "-1.0000000e+06", "-0.50000000", "nan")
    ]


def test_a_moment_is_in_words() -> None:
    assert moment(datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)) == "2026-01-02 03:04:05Z"
    assert moment(None) == ""


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "\nx",
    *("\uff1d1", "\uff0b1", "\uff0d1", "\uff20a"),
]
PLAIN = ["1-1", "a=b", " =1", "'=1", "", "x\ny", "x\ry", "x\r\ny", '"', ","]


def test_text_in_csv_is_no_formula_and_numbers_stay_numbers(store: Store, capsys: Output) -> None:
    url = store.url.render_as_string(hide_password=False)
    texts = [*FORMULAS, *PLAIN]
    literals = ["'" + text.replace("'", "''") + "'" for text in texts]
    cells = ", ".join(f"{literal} AS c{i}" for i, literal in enumerate(literals))
    sql = f'SELECT {cells}, -1 AS minus, -0.5 AS half, NULL AS none, 7 AS "=7"'
    assert run(["query", "--sql", sql, "--format", "csv", "--database-url", url]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out, newline=""))
    assert header[-1] == "'=7"
    assert row == [*(f"'{text}" for text in FORMULAS), *PLAIN, "-1", "-0.5", "", "7"]
    assert run(["query", "--sql", sql, "--json", "--database-url", url]) == 0
    (exact,) = json.loads(capsys.readouterr().out)
    assert list(exact.values()) == [*texts, -1, -0.5, None, 7]


def test_csv_is_exact_in_a_file_and_escaped_on_a_terminal(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = HOSTILE.replace("\udcff", "")
    rows = [("\x1b[2J", "n"), (hostile, -1.5)]
    print_answer(iter(rows), "csv")
    assert list(csv.reader(io.StringIO(capsys.readouterr().out, newline=""))) == [
        ["\x1b[2J", "n"],
        [hostile, "-1.5"],
    ]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_answer(iter(rows), "csv")
    assert capsys.readouterr().out == rf"\x1b[2J,n{chr(10)}{SHOWN},-1.5{chr(10)}".replace(r"\udcff", "")


def test_an_exported_model_is_no_formula(store: Store, tmp_path: Path, capsys: Output) -> None:
    url = store.url.render_as_string(hide_password=False)
    models = [ModelSource("=cmd", "=cmd")]
    writer = store.start_run(
        dataset_row(), epochs=2, learning_rate=0.1, seed=0, environment={}, models=models
    )
    stored = history(2)
    stored.parameters[:, -1] = -0.25, -0.0
    writer.append("=cmd", stored)
    words = ["export", "1", "--format", "csv,parquet", "-o", str(tmp_path), "--database-url", url]
    assert run(words) == 0
    table = pd.read_csv(tmp_path / "run-1.csv")
    assert table.model.tolist() == ["'=cmd"] * 2
    assert table.bias.to_numpy(np.float32).tobytes() == stored.parameters[:, -1].tobytes()
    assert pd.read_parquet(tmp_path / "run-1.parquet").model.tolist() == ["=cmd"] * 2
    assert isinstance(stored, History)


def test_the_job_without_a_command_says_what_is_missing(capsys: Output) -> None:
    for words, command in ([], "job"), (["db"], "job db"):
        assert run(words) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == f"job: error: Missing command. (see `{command} --help`)\n"


def test_moments_of_other_zones_are_shown_as_they_are_stored(store: Store) -> None:
    """Whatever the session's zone, the store returns UTC, and UTC is shown."""
    writer = store.start_run(dataset_row(), epochs=1, learning_rate=0.1, seed=0, environment={})
    created = store.run(writer.run_id).created_at
    assert created.utcoffset() == timedelta(0)
    assert moment(created.astimezone(timezone(timedelta(hours=2)))) == moment(created)


@pytest.mark.parametrize("path", [".", "/", "no/../.."])
def test_a_directory_is_no_file_to_write(path: str) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write(Path(path), b"")
