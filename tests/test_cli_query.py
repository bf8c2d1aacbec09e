"""`job query` as a user types it."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from db.store import Store
from job.cli import run
from tests.samples import dataset_row, history

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def url(shared_url: str) -> str:
    with Store(shared_url) as store:
        for _ in range(2):
            writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={"a": 1})
            writer.append("paddle", history(5))
    return shared_url


def query(url: str, *words: object) -> int:
    return run(["query", *map(str, words), "--database-url", url])


def test_the_list_needs_no_store(capsys: Output) -> None:
    assert run(["query", "--list"]) == 0
    said = capsys.readouterr().out
    for name in (
        *("losses", "final-parameters", "parity", "overfitting", "turning-points", "convergence"),
        "runs-by-final-loss",
    ):
        assert f"\n{name} " in said
    assert ":run, :every = 1000" in said


def test_a_named_query_is_about_the_latest_run_or_the_one_named(url: str, capsys: Output) -> None:
    assert query(url, "losses", "--param", "every=2", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["epoch"] for row in rows] == [0, 2, 4]
    assert rows[1]["test_loss"] == float(history(5).test_loss[2])
    assert query(url, "losses", "--run", 1, "--format", "csv") == 0
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(read[0]["train_loss"]) == float(history(5).train_loss[0])


def test_own_sql_comes_from_an_option_or_stdin(
    url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT count(*) AS n FROM epochs WHERE run_id = :run"
    assert query(url, "--sql", sql, "--run", "latest", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 5}]
    monkeypatch.setattr(sys, "stdin", io.StringIO(sql))
    assert query(url, "-", "--param", "run=9", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 0}]


@pytest.mark.parametrize("given", ["\0" * 3_000_000, " " * 1_000_001])
def test_a_query_from_stdin_has_an_end(
    url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    stdin = io.StringIO(given)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert query(url, "-") == 2
    assert capsys.readouterr().err == "job: error: the query on stdin is longer than 1,000,000 characters\n"
    assert stdin.tell() < 1_100_000
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1 AS a".ljust(1_000_000)))
    assert query(url, "-", "--format", "csv") == 0
    assert capsys.readouterr().out == "a\n1\n"


def test_a_query_from_stdin_is_text(url: str, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin, refusal in (
        (io.TextIOWrapper(io.BytesIO(b"SELECT '\xff'"), "utf-8"), "the query on stdin is not text"),
        (None, "the query is empty" if url.startswith("sqlite") else "only a query that gives columns"),
    ):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert query(url, "-") == 2
        assert refusal in capsys.readouterr().err


def test_a_limit_cuts_and_says_so(url: str, capsys: Output) -> None:
    sql = "SELECT epoch FROM epochs ORDER BY run_id, epoch"
    assert query(url, "--sql", sql, "--limit", 3, "--format", "csv") == 0
    said = capsys.readouterr()
    assert said.out == "epoch\n0\n1\n2\n"
    assert said.err == "job: only the first 3 rows; --limit 0 gives all\n"
    assert query(url, "--sql", sql, "--limit", 0, "--format", "csv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 11


def test_a_table_shows_numbers_to_nine_digits(url: str, capsys: Output) -> None:
    assert query(url, "--sql", "SELECT 0.1 + 0.2 AS sum, NULL AS none, 'a' AS text") == 0
    assert capsys.readouterr().out == "sum  none  text\n0.3        a\n"


def test_json_has_no_infinity_and_a_name_for_every_column(url: str, capsys: Output) -> None:
    infinite = "9e999" if url.startswith("sqlite") else "CAST('Infinity' AS double precision)"
    assert query(url, "--sql", f"SELECT {infinite} AS a, 1 AS a", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [{"a": None, "a_2": 1}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give one of: a query's NAME"),
        (("losses", "--list"), "give one of: a query's NAME"),
        (("losses", "--sql", "SELECT 1"), "give one of: a query's NAME"),
        (
            ("lossses",),
            "there is no query 'lossses'; there are baselines, convergence, final-parameters, losses",
        ),
        (("losses", "--param", "every"), "--param 'every': write it as NAME=VALUE"),
        (("losses", "--param", "every=1", "--param", "every=2"), "--param every is given twice"),
        (("losses", "--param", "evry=1"), "no parameter :evry; its parameters: :run, :every"),
        (("losses", "--param", "every=abc"), ":every must be a whole number from 1"),
        (("losses", "--param", "every=0"), ":every must be a whole number from 1"),
        (("losses", "--param", "every=99999999999999999999"), ":every must be a whole number from 1"),
        (("losses", "--param", "run=1"), "name the run with --run"),
        (("turning-points", "--param", "around=0.5"), ":around must be a whole number from 1"),
        (("turning-points", "--param", "least=-1"), ":least must be a number from 0"),
        (("--sql", "SELECT :a", "--param", "a=99999999999999999999"), ""),
        (("losses", "--run", "9"), "there is no run 9"),
        (("runs-by-final-loss", "--run", "1"), "is about all runs; it takes no --run"),
        (("--sql", "DELETE FROM epochs"), "only"),
        (("--sql", "SELECT :a"), "the query has a parameter :a; give it with --param a=VALUE"),
        (("--sql", "SELECT 1", "--timeout", "nan"), "Invalid value for '--timeout'"),
        (("convergence", "--data", "nowhere.csv"), "nowhere.csv: there is no such file"),
    ],
)
def test_wrong_use_is_one_line(url: str, capsys: Output, words: tuple[str, ...], message: str) -> None:
    assert query(url, *words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_query_that_takes_too_long_ends_with_status_1(url: str, capsys: Output) -> None:
    forever = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    assert query(url, "--sql", forever, "--timeout", 0.2) == 1
    assert "the query was stopped after 0.2 s" in capsys.readouterr().err


def test_other_data_than_the_runs_are_refused(url: str, capsys: Output, tmp_path: Path) -> None:
    from tests.samples import write_csv

    assert query(url, "convergence", "--data", write_csv(tmp_path / "made.csv")) == 2
    assert "not what run 2 was trained on" in capsys.readouterr().err
