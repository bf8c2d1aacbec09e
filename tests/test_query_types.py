"""Every SQL type of both databases gives a value in every format, or one clear line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from db.store import Store
from job.cli import run

Output = pytest.CaptureFixture[str]
FORMATS = ("table", "csv", "json")
ON_POSTGRESQL: dict[str, Any] = {
    "uuid '6f2d8a4e-0d0c-4b42-8f3e-0a0b0c0d0e0f'": "6f2d8a4e-0d0c-4b42-8f3e-0a0b0c0d0e0f",
    "ARRAY[uuid '6f2d8a4e-0d0c-4b42-8f3e-0a0b0c0d0e0f']": ["6f2d8a4e-0d0c-4b42-8f3e-0a0b0c0d0e0f"],
    "interval '-1 day 2:00'": "-1 days +02:00:00",
    "date '2026-01-02'": "2026-01-02",
    "date '0044-03-15 BC'": "0044-03-15 BC",
    "date 'infinity'": "infinity",
    "time '24:00'": "24:00:00",
    "timetz '12:00+02'": "12:00:00+02",
    "timestamp '2026-01-02 03:04:05'": "2026-01-02 03:04:05",
    "timestamp '-infinity'": "-infinity",
    "timestamptz '2026-01-02 03:04:05.5+01'": "2026-01-02T02:04:05.500000+00:00",
    "timestamptz 'infinity'": "infinity",
    "timestamptz '0044-03-15 BC'": "0044-03-15 00:00:00+00 BC",
    "timestamptz '12000-01-01'": "12000-01-01 00:00:00+00",
    "ARRAY[timestamptz '2026-01-02', 'infinity']": ["2026-01-02T00:00:00+00:00", "infinity"],
    "numeric '1.50'": 1.5,
    "numeric '2.00'": 2,
    "10::numeric ^ 20": 10**20,
    "10::numeric ^ 308": 10**308,
    "10::numeric ^ 5000": "1" + 5000 * "0",
    "10::numeric ^ 400 + 0.5": "1" + 400 * "0" + ".5",
    "numeric 'NaN'": None,
    "ARRAY[1.5, 2]": [1.5, 2],
    "float8 'NaN'": None,
    "float8 '-0'": -0.0,
    "float4 'infinity'": None,
    "ARRAY[float8 'NaN', '0.5']": [None, 0.5],
    "ARRAY[[1, 2], [3, NULL]]": [[1, 2], [3, None]],
    "'\\xff00'::bytea": "ff00",
    "ARRAY['\\xff00'::bytea]": ["ff00"],
    "inet '10.0.0.1/8'": "10.0.0.1/8",
    "cidr '10.0.0.0/8'": "10.0.0.0/8",
    "int4range(1, 5)": "[1,5)",
    "ARRAY[numrange(1, NULL)]": ["[1,)"],
    "tstzrange('2026-01-02', 'infinity')": '["2026-01-02 00:00:00+00",infinity)',
    "ROW(1, 'a')": "(1,a)",
    "ARRAY[ROW(1, 'a')]": ["(1,a)"],
    "(1, 2)::test_pair": "(1,2)",
    "'glad'::test_mood": "glad",
    "ARRAY['glad']::test_mood[]": "{glad}",
    "7::test_small": 7,
    "(SELECT table_name FROM information_schema.tables WHERE table_name = 'runs')": "runs",
    "'a'::\"char\"": "a",
    "money '12.5'": "$12.50",
    "B'101'": "101",
    "point '(1,2)'": "(1,2)",
    "'pg_class'::regclass": "pg_class",
    "true": True,
    '\'{"a": [1, {"b": null}]}\'::jsonb': {"a": [1, {"b": None}]},
    "'[1e400]'::json": [None],
    "(repeat('[', 200) || repeat(']', 200))::jsonb::text": "[" * 200 + "]" * 200,
}
ON_SQLITE: dict[str, Any] = {
    "x'ff00'": "ff00",
    "9e999": None,
    "-9e999": None,
    "-0.0": -0.0,
    "9223372036854775807": 2**63 - 1,
    "9223372036854775808": 2.0**63,
    "zeroblob(2)": "0000",
    "json('[1]')": "[1]",
    "'a' || char(0)": "a\0",
    "NULL": None,
}
REFUSED = {
    "postgresql": {
        "(repeat('[', 3000) || repeat(']', 3000))::jsonb": "nested too deeply; cast it to text",
        "(repeat('[', 900) || repeat(']', 900))::jsonb": "nested too deeply; cast it to text",
        "('[1' || repeat('0', 5000) || ']')::jsonb": "a value cannot be read; cast it to text",
        "(SELECT min(most_common_vals::text)::anyarray FROM pg_stats)": "the database refused the query",
    },
    "sqlite": {"CAST(x'ff' AS TEXT)": "the database refused the query: Could not decode"},
}


@pytest.mark.parametrize(("backend", "values"), [("sqlite", ON_SQLITE), ("postgresql", ON_POSTGRESQL)])
def test_every_type_has_a_value_in_every_format(
    store: Store, backend: str, values: dict[str, Any], capsys: Output
) -> None:
    if backend == "postgresql":
        with store.engine.begin() as connection:
            for made in ("TYPE test_pair AS (a int, b int)", "TYPE test_mood AS ENUM ('glad')"):
                connection.exec_driver_sql(f"CREATE {made}")
            connection.exec_driver_sql("CREATE DOMAIN test_small AS int")
    asked = ", ".join(f"{expression} AS c{i}" for i, expression in enumerate(values))
    said = {}
    for form in FORMATS:
        words = ["query", "--sql", f"SELECT {asked}", "--format", form]
        assert run([*words, "--database-url", store.url.render_as_string(hide_password=False)]) == 0
        said[form] = capsys.readouterr().out
    (found,) = json.loads(said["json"])
    for expression, value in zip(values, found.values(), strict=True):
        assert repr(value) == repr(values[expression]), expression
    assert len(said["table"].splitlines()) == 2


@pytest.mark.parametrize(
    ("backend", "expression"), [(backend, each) for backend, all_ in REFUSED.items() for each in all_]
)
@pytest.mark.parametrize("form", FORMATS)
def test_a_value_that_cannot_be_shown_is_one_line(
    store: Store, backend: str, expression: str, form: str, capsys: Output
) -> None:
    words = ["query", "--sql", f"SELECT {expression}", "--format", form]
    assert run([*words, "--database-url", store.url.render_as_string(hide_password=False)]) == 2
    said = capsys.readouterr()
    assert REFUSED[backend][expression] in said.err
    assert (said.out if form != "csv" else "", said.err.count("\n")) == ("", 1)
