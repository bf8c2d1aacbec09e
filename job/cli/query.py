"""`job query`: named queries and the user's own SQL, read only."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import typer

from db.backends.query_limits import Row
from db.errors import QueryError
from db.query import NamedQuery, Value, named_queries, named_query, names, read_value, run_query
from job.cli.options import (
    ANSWER,
    DEFAULT_DATABASE,
    AsJson,
    DatabaseUrl,
    RunData,
    open_store,
    say_if_downsampled,
)
from job.cli.output import Number, json_text, print_json, print_table
from job.log import log_line, shown
from job.output_files import harmless

LONGEST = 1_000_000
"""most characters of a query from stdin"""
Format = Literal["table", "csv", "json"]
REST = 64_000_000
"""bytes that the process may take besides twice the budget"""


def names_from(incomplete: str) -> list[str]:
    """The named queries whose names begin so, for the completion of a shell."""
    return [name for name in names() if name.startswith(incomplete)]


def query(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A named query; `-`: SQL from stdin.", autocompletion=names_from),
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Binds :run; a number, or `latest`.")] = None,
    sql: Annotated[str | None, typer.Option(help="Your own query, instead of a named one.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the named queries.")] = False,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Binds :NAME; repeatable.")
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Binds :name, a sweep's.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print the answer.")] = "table",
    limit: Annotated[int, typer.Option(min=0, help="Rows to print; 0 for all.")] = 1000,
    timeout: Annotated[float, typer.Option(min=0.001, max=86400, help="Seconds that it may take.")] = 30.0,
    max_bytes: Annotated[
        int, typer.Option(min=1, max=2**61, help="Bytes that the answer may take.")
    ] = 256_000_000,
    data: RunData = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Answer a named query, by default about the latest run, or your own SQL. It can only read."""
    output = "json" if as_json else output
    if [listed, sql is not None, name is not None].count(True) != 1:
        raise QueryError('give one of: a query\'s NAME, --sql "...", - for SQL from stdin, or --list')
    if listed:
        list_queries(output)
        return
    parameters = read_parameters(param or [])
    if sweep is not None:
        parameters["name"] = sweep
    text = read_query() if name == "-" else sql
    bounds: dict[str, Any] = {"limit": limit or None, "timeout": timeout, "max_bytes": max_bytes}
    bounds |= {"memory": 2 * max_bytes + REST, "take": partial(print_answer, output=output)}
    with open_store(database_url, answer_timeout=min(timeout, ANSWER)) as store:
        if text is None:
            from job.named_query import run_named_query  # which loads NumPy

            assert name is not None
            if "name" in named_query(name).parameters and sweep is None:
                raise QueryError(f"the query {name} is about a sweep: give its name with --name")
            about_a_run = "run" in named_query(name).parameters
            if run is not None and not about_a_run:
                raise QueryError(f"the query {name} is about all runs; it takes no --run")
            found = store.run(run or "latest") if about_a_run else None
            if found is not None:
                say_if_downsampled(found)
            rows = run_named_query(store, name, found, parameters, data=data, **bounds)
        else:
            if run is not None:
                about = store.run(run)
                parameters["run"] = about.id
                if about.archived:
                    log_line(
                        f"run {about.id} is archived: SQL sees its first, best and last epochs; "
                        f"`job db unarchive {about.id}` puts all of them back"
                    )
            rows = run_query(store.url, text, parameters, **bounds)
    if rows.more:
        log_line(f"only the first {limit:,} rows; --limit 0 gives all")


def list_queries(output: Format) -> None:
    """Print what the named queries answer, and their parameters; as JSON with their text there."""
    queries = named_queries()
    if output == "json":
        print_json([asdict(each) for each in queries])
        return
    rows: list[Row] = [(each.name, each.question, parameters_of(each)) for each in queries]
    print_answer(iter([("name", "question", "parameters"), *rows]), output)


def parameters_of(named: NamedQuery) -> str:
    """The parameters that a user may set, with their defaults."""
    defaults = {name: "" if value is None else f" = {value}" for name, value in named.defaults.items()}
    names = [name for name in named.parameters if name != "optimum"]
    return ", ".join(f":{name}{defaults.get(name, '')}" for name in names)


def read_query() -> str:
    """The query on stdin. Raises QueryError if it is too long or is not text."""
    try:
        text = sys.stdin.read(LONGEST + 1) if sys.stdin else ""  # the parent process may have closed it
    except UnicodeDecodeError as error:
        raise QueryError(f"the query on stdin is not text: {error}") from None
    if len(text) > LONGEST:
        raise QueryError(f"the query on stdin is longer than {LONGEST:,} characters")
    return text


def read_parameters(pairs: list[str]) -> dict[str, Value]:
    """Parameters from NAME=VALUE. Raises QueryError for anything else."""
    parameters: dict[str, Value] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.removeprefix(":")
        if not equals or not name.isidentifier():
            raise QueryError(f"--param {pair!r}: write it as NAME=VALUE")
        if name in parameters:
            raise QueryError(f"--param {name} is given twice")
        parameters[name] = read_value(value)
    return parameters


def print_answer(rows: Iterator[Row], output: Format) -> None:
    """Print the column names and rows of an answer as they arrive."""
    if output == "json":
        write_json_rows(rows)
    elif output == "csv":
        write_csv(rows)
    else:
        print_table(next(rows), ([cell(value) for value in row] for row in rows))


class Lines:
    """Where CSV is printed, one line a row; csv quotes a carriage return only if it ends lines itself."""

    def write(self, row: str) -> None:
        """Print one row."""
        sys.stdout.write(row.removesuffix("\r\n") + "\n")


def write_csv(rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV."""
    writer = csv.writer(Lines(), lineterminator="\r\n")
    terminal = sys.stdout.isatty()
    for row in rows:
        values = map(text_of, row)
        writer.writerow([shown(each) if terminal and isinstance(each, str) else each for each in values])


def unique(columns: tuple[str, ...]) -> list[str]:
    """Column names for JSON, where each must be another: the second `a` becomes `a_2`."""
    counts: dict[str, int] = {}
    for name in columns:
        fresh = name
        while fresh in counts:
            counts[name] += 1
            fresh = f"{name}_{counts[name]}"
        counts[fresh] = 1
    return list(counts)


def write_json_rows(rows: Iterator[Row]) -> None:
    """Print rows as a JSON array of objects, with null for what is no finite number."""
    names = unique(next(rows))
    begin = "[\n  "
    for row in rows:
        value = dict(zip(names, map(null_if_not_finite, row), strict=True))
        sys.stdout.write(begin + json_text(value).replace("\n", "\n  "))
        begin = ",\n  "
    print("[]" if begin[0] == "[" else "\n]")


def null_if_not_finite(value: Any) -> Any:
    """The value, with null for each NaN or infinity in it."""
    if isinstance(value, dict):
        return {key: null_if_not_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [null_if_not_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def text_of(value: Any) -> Any:
    """A value as CSV has it: lists and objects as JSON, moments in ISO form, text that is no formula."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list | dict):
        return nested(value)
    return harmless(value.isoformat() if hasattr(value, "isoformat") else str(value))


def cell(value: Any) -> Any:
    """A value as a table has it: numbers to float32's nine digits, lists with commas."""
    if isinstance(value, float):
        return Number(value)
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return ", ".join(map(str, value))
    return nested(value) if isinstance(value, list | dict) else value


def nested(value: Any) -> str:
    """A list or an object as JSON."""
    return json.dumps(value, default=datetime.isoformat)
