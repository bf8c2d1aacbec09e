"""Asks named queries about a run, with what SQL alone cannot know bound as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from db.errors import QueryError
from db.query import LIMIT, TIMEOUT, Answer, Value, ask, named_query
from db.schema import RunRow
from db.store import Store
from job.source import least_squares, source


def answer(
    store: Store,
    name: str,
    run: RunRow | None,
    parameters: Mapping[str, Value] | None = None,
    *,
    data: Path | None = None,
    limit: int | None = LIMIT,
    timeout: float = TIMEOUT,
) -> Answer:
    """The answer to a named query; `run` is left out by queries about all runs.

    `:optimum` is worked out from the run's data file, and null where that file is not at hand.

    Raises QueryError for an unknown query or parameter, and DataError where `data` is not the run's file.
    """
    query = named_query(name)
    given = dict(parameters or {})
    for unknown in given.keys() - query.parameters.keys():
        known = ", ".join(f":{parameter}" for parameter in query.parameters) or "none"
        raise QueryError(f"the query {name} has no parameter :{unknown}; its parameters: {known}")
    bound: dict[str, Value] = {**query.defaults, **given}
    if "run" in query.parameters and run is not None:
        bound.setdefault("run", run.id)
    if "optimum" in query.parameters and "optimum" not in given and run is not None:
        dataset = source(run, data)
        bound["optimum"] = None if dataset is None else least_squares(dataset)
    return ask(store.url, query.sql, bound, limit=limit, timeout=timeout)
