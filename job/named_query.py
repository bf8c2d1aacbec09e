"""Runs named queries about a run, with parameters that SQL alone cannot compute."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from db.archiving import as_rows
from db.backends.query_limits import Row, Watch
from db.errors import QueryError
from db.query import MAX_BYTES, TIMEOUT, Answer, Value, answer, named_query, run_query
from db.schema import RunRow
from db.store import Store
from job.computed import COMPUTED, Course
from job.data.dataset import Dataset
from job.data.source import least_squares, source
from job.stretches import rounding

LARGEST_PARAMETER = 2**31 - 1
"""larger than any epoch that the store can hold"""
OF_THE_LAST_EPOCH = {"final-parameters"}
"""queries that need no other rows than those that an archived run keeps"""


def run_named_query(
    store: Store,
    name: str,
    run: RunRow | None,
    parameters: Mapping[str, Value] | None = None,
    *,
    data: Path | None = None,
    **bounds: Any,
) -> Answer:
    """The answer to a named query; `run` is None if it is about all runs, `bounds` are passed to `run_query`.

    `:optimum` is computed from a linear regression's data file, and null if that file is not found. `:least`
    of `overfitting` is by default what rounding may explain. The queries in `COMPUTED` are answered in NumPy.

    Raises QueryError for an unknown query or parameter, and DataError if `data` is not the run's file.
    """
    query = named_query(name)
    given = dict(parameters or {})
    for unknown in given.keys() - query.parameters.keys():
        known = ", ".join(f":{parameter}" for parameter in query.parameters) or "none"
        raise QueryError(f"the query {name} has no parameter :{unknown}; its parameters: {known}")
    if "run" in given:
        raise QueryError("name the run with --run, not as a parameter")
    if "run" not in query.parameters:
        run = None
    defaults = dict(query.defaults)
    if run is not None and name == "overfitting":
        defaults["least"] = rounding(run.dataset)
    for parameter, default in defaults.items():
        check(parameter, given.get(parameter, default), default)
    bound: dict[str, Value] = {**defaults, **given}
    if "optimum" in bound and "optimum" not in given and run is not None and run.is_linear_regression:
        dataset = source(run, data)
        bound["optimum"] = None if dataset is None else least_squares(dataset)
    try:
        if run is not None and name in COMPUTED:
            return computed(store, name, run, bound, source(run, data), **bounds)
        if run is not None:
            bound["run"] = run.id
        if run is not None and name not in OF_THE_LAST_EPOCH:
            with as_rows(store, run) as url:
                return run_query(url, query.sql, bound, **bounds)
        return run_query(store.url, query.sql, bound, **bounds)
    except QueryError as error:  # a corrupted page, for example
        raise QueryError(f"run {run.id}: {error}" if run else str(error)) from error


def computed(
    store: Store,
    name: str,
    run: RunRow,
    bound: Mapping[str, Any],
    dataset: Dataset | None,
    *,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
    **bounds: Any,
) -> Answer:
    """The answer to a query in `COMPUTED`, as `run_query` gives it."""
    compute, columns = COMPUTED[name]

    def rows() -> Generator[Row, None, None]:
        yield columns
        histories = {model: store.history(run.id, model) for model in store.progress(run.id)}
        yield from compute(Course(run, histories, dataset), **bound)

    return answer(Watch(timeout, max_bytes), rows(), **bounds | {"memory": None})  # it would bound epochs


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
