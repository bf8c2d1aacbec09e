"""Runs that are old enough to be pruned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from db import retention
from db.archiving import archive
from db.retention import Policy, apply_pruning, prunings
from db.schema import RunRow, VerdictRow
from db.store import Store
from tests.samples import dataset_row, history

OLD = timedelta(days=100)


class Killed(BaseException):
    """Stands for a kill."""


def kill() -> None:
    raise Killed


@contextmanager
def after_each_batch(then: Callable[[], object]) -> Iterator[None]:
    """Let epochs be deleted in small transactions, and call `then` after each that `then` does not make."""
    remove = retention.remove

    def removing(*arguments: Any) -> int:
        removed = remove(*arguments)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retention, "remove", remove)
            then()
        return removed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "STEP", 7)
        patch.setattr(retention, "remove", removing)
        yield


def made(
    store: Store, status: str = "completed", age: timedelta = OLD, epochs: int = 40, **fields: Any
) -> int:
    """A run that ended that long ago; its two models have different histories."""
    values: dict[str, Any] = {"epochs": epochs, "learning_rate": 0.1, "seed": 0, "trigger": "nightly"}
    writer = store.start_run(dataset_row(), environment={}, **values | fields)
    writer.append("paddle", history(epochs, seed=writer.run_id))
    writer.append("python", history(epochs, seed=writer.run_id + 1000))
    writer.finish(status)
    finished = store.run(writer.run_id).heartbeat_at - age
    change = update(RunRow).where(RunRow.id == writer.run_id)
    store.write(lambda session, _: session.execute(change.values(finished_at=finished)))
    return writer.run_id


def failed(store: Store, run: int, against: int | None = None) -> None:
    row = VerdictRow(run_id=run, kind="drift", against_run_id=against, passed=False, tolerance=0, detail="")
    store.add_verdict(row)


def actions(store: Store, **policy: Any) -> dict[int, str]:
    return {pruning.run.id: pruning.action for pruning in prunings(store, Policy(**policy))}


def prune(store: Store, **policy: Any) -> None:
    rules = Policy(**policy)
    for pruning in prunings(store, rules):
        if pruning.action == "archive":
            assert isinstance(archive(store, pruning.run.id), int)
        elif pruning.action != "keep":
            assert apply_pruning(store, pruning, rules) is not None


def ids(store: Store) -> list[int]:
    return sorted(run.id for run in store.runs())
