"""The answer of a query: columns, values, parameters, limits; the same on both databases."""

from __future__ import annotations

import pytest

from db.backends import placeholders
from db.errors import QueryError
from db.query import Value, read_value, run_query
from db.store import Store
from tests.samples import dataset_row, history


def fill(store: Store) -> int:
    writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={"a": 1})
    writer.append("paddle", history(5))
    return writer.run_id


def test_columns_and_values_come_as_they_are(store: Store) -> None:
    fill(store)
    found = run_query(store.url, "SELECT 1 AS a, 0.5 AS a, 'x' AS b, NULL AS c, sum(epoch) AS d FROM epochs;")
    assert found.columns == ("a", "a", "b", "c", "d")
    assert found.rows == [(1, 0.5, "x", None, 10)]
    assert not found.more


def test_views_and_all_tables_can_be_read(store: Store) -> None:
    run = fill(store)
    tables = ["datasets", "features", "runs", "epochs", "verdicts", "parameter_history", "parity_history"]
    counts = [run_query(store.url, f"SELECT count(*) FROM {table}").rows[0][0] for table in tables]
    assert counts == [1, 3, 1, 5, 0, 20, 0]
    value = "SELECT value FROM parameter_history WHERE run_id = :run AND parameter = 'x1' AND epoch = 2"
    assert run_query(store.url, value, {"run": run}).rows[0][0] == pytest.approx(
        history(5).parameters[2, 1], rel=1e-7
    )


def test_parameters_are_values_and_never_sql(store: Store) -> None:
    fill(store)
    evil = "x' OR 1=1; DROP TABLE epochs --"
    query = (
        "SELECT :text AS t, :number + 1 AS n, :share * 2 AS s, CAST(:nothing AS integer) AS z, ':text' AS q"
    )
    given: dict[str, Value] = {"text": evil, "number": 2**40, "share": 0.1, "nothing": None}
    assert run_query(store.url, query, given).rows == [(evil, 2**40 + 1, 0.2, None, ":text")]


def test_a_parameter_may_be_used_more_than_once(store: Store) -> None:
    assert run_query(store.url, "SELECT :a + :b, :b - :a", {"a": 1, "b": 5}).rows == [(6, 4)]


def test_no_more_rows_than_the_limit_are_fetched(store: Store) -> None:
    fill(store)
    query = "SELECT epoch FROM epochs ORDER BY epoch"
    assert (run_query(store.url, query, limit=5).more, run_query(store.url, query, limit=None).more) == (
        False,
        False,
    )
    few = run_query(store.url, query, limit=2)
    assert (few.rows, few.more) == ([(0,), (1,)], True)
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    assert len(run_query(store.url, endless, limit=10, timeout=20).rows) == 10


@pytest.mark.parametrize(
    "wrong", ["SELEKT 1", "SELECT nope FROM epochs", "SELECT * FROM nowhere", "SELECT 'a"]
)
def test_wrong_sql_is_one_line(store: Store, wrong: str) -> None:
    with pytest.raises(QueryError, match=r"^the database refused the query: [^\n]+$"):
        run_query(store.url, wrong)


def test_parameters_must_be_those_of_the_query(store: Store) -> None:
    with pytest.raises(QueryError, match="has a parameter :a; give it with --param a=VALUE"):
        run_query(store.url, "SELECT :a")
    with pytest.raises(QueryError, match="has no parameter :b; its parameters: :a"):
        run_query(store.url, "SELECT :a", {"a": 1, "b": 2})


def test_placeholders_are_found_outside_of_text_comments_and_casts() -> None:
    sql = """SELECT ':a', ":b", x::int, E'\\':c', $$ :d $$, $t$ :e $ $t$ -- :f
        /* :g */ , :h, a[1:2], 'it''s :i', :h, :j_2"""
    assert placeholders.names(sql) == ["h", "j_2"]
    assert placeholders.replace("SELECT :a, ':a', :b", str.upper) == "SELECT A, ':a', B"


@pytest.mark.parametrize(
    ("written", "value"), [("7", 7), ("-1.5", -1.5), ("1e3", 1000.0), ("null", None), ("LSTAT", "LSTAT")]
)
def test_a_parameters_text_says_its_type(written: str, value: object) -> None:
    assert read_value(written) == value
    assert type(read_value(written)) is type(value)
