"""Runs named queries about a run, with parameters that SQL alone cannot compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from db.backends.watch import Row
from db.errors import QueryError
from db.query import Answer, Value, named_query, run_query
from db.schema import RunRow
from db.store import Store
from job.data.source import least_squares, source
from job.verdicts.exact import path_of
from job.verdicts.path import ExactPath

LARGEST_PARAMETER = 2**31 - 1
"""larger than any epoch that the store can hold"""


def run_named_query(
    store: Store,
    name: str,
    run: RunRow | None,
    parameters: Mapping[str, Value] | None = None,
    *,
    data: Path | None = None,
    **bounds: Any,
) -> Answer:
    """The answer to a named query. `run` is None for queries about all runs; `bounds` are passed to `ask`.

    `:optimum` is computed from a linear regression's data file, and null if that file is not found. So are
    the columns that `explained` adds to `turning-points`.

    Raises QueryError for an unknown query or parameter, and DataError if `data` is not the run's file.
    """
    query = named_query(name, store.url.get_backend_name())
    given = dict(parameters or {})
    for unknown in given.keys() - query.parameters.keys():
        known = ", ".join(f":{parameter}" for parameter in query.parameters) or "none"
        raise QueryError(f"the query {name} has no parameter :{unknown}; its parameters: {known}")
    if run is not None and "run" in given:
        raise QueryError("name the run with --run, not as a parameter")
    for parameter, default in query.defaults.items():
        check(parameter, given.get(parameter, default), default)
    bound: dict[str, Value] = {**query.defaults, **given}
    if "run" in query.parameters and run is not None:
        bound.setdefault("run", run.id)
    if (
        "optimum" in query.parameters
        and "optimum" not in given
        and run is not None
        and run.is_linear_regression
    ):
        dataset = source(run, data)
        bound["optimum"] = None if dataset is None else least_squares(dataset)
    if name == "turning-points":
        path = path_of(run, source(run, data)) if run is not None else ""
        bounds["adding"] = partial(explained, path, [] if run is None else run.parameter_names)
    try:
        return run_query(store.url, query.sql, bound, **bounds)
    except QueryError as error:  # a corrupted page, for example
        raise QueryError(f"run {run.id}: {error}" if run else str(error)) from error


def explained(path: ExactPath | str, parameters: Sequence[str], rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of `turning-points`, each with the turn of the exact path; nulls if there is none."""
    columns = next(rows)
    yield (*columns, "predicted_epoch", "short_half_life", "long_half_life")
    for row in rows:
        found = None
        if isinstance(path, ExactPath):
            turn = dict(zip(columns, row, strict=True))
            found = path.turn(parameters.index(turn["parameter"]), turn["epoch"], turn["went_before"])
        if found is None:
            yield (*row, None, None, None)
        else:
            yield (*row, found.epoch, round(found.short_half_life, 1), round(found.long_half_life, 1))


def check(name: str, value: Value, default: Value) -> None:
    """Raise QueryError if a value is invalid for its parameter.

    A parameter with an integer default is a number of epochs, at least 1; one with a float default is a
    distance, at least 0.
    """
    if not isinstance(default, int | float):
        return
    whole = isinstance(default, int)
    number = isinstance(value, int if whole else int | float)
    if not number or not int(whole) <= float(value or 0) <= LARGEST_PARAMETER:
        wanted = "a whole number from 1" if whole else "a number from 0"
        raise QueryError(f":{name} must be {wanted} to {LARGEST_PARAMETER}, not {value!r}")
