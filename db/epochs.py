"""Epochs as rows: read and written in blocks, in the fastest way on each database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from db.backends import postgresql, sqlite
from db.types import unpack

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from db.history import History

HISTORY_COLUMNS = ("epoch", "train_loss", "test_loss", "parameters", "trained_at")
COLUMNS = ("run_id", "model", *HISTORY_COLUMNS)
NOT_READ = (TypeError, ValueError, FloatingPointError)
"""what reading a corrupted value raises; the last for a number beyond float32"""
_PROGRESS = """
    SELECT run_id, model, epochs
    FROM (
        SELECT m.run_id, m.position, m.name AS model, (
            SELECT max(e.epoch) + 1 FROM epochs e WHERE e.run_id = m.run_id AND e.model = m.name
        ) AS epochs
        FROM models m {of}
    ) AS trained
    WHERE epochs IS NOT NULL ORDER BY run_id, position
"""
PROGRESS = text(_PROGRESS.format(of="WHERE m.run_id = :run"))
"""epochs of each model of a run that has any, in the models' order; one look-up each in the primary key"""
PROGRESS_OF_ALL = text(_PROGRESS.format(of=""))
"""as PROGRESS, of all runs"""
ARCHIVED = text(
    "SELECT a.epochs, a.columns, a.packed, m.trained_at FROM archived_models m"
    " LEFT JOIN archives a ON a.digest = m.digest WHERE m.run_id = :run_id AND m.model = :model"
)
"""the archive of a model; no row if it is not archived"""


def as_history(rows: Sequence[Any]) -> History:
    """A history from rows of `HISTORY_COLUMNS`; without parameters if there are no rows.

    Raises ValueError naming the first epoch that cannot be read.
    """
    try:
        return _as_history(rows)
    except NOT_READ:
        sizes = []
        for row in rows:
            try:
                sizes.append(_as_history([row]).parameters.shape[1])
            except NOT_READ as error:
                raise ValueError(f"epoch {row.epoch}: {error}") from error
        usual = max(set(sizes), key=sizes.count)
        for row, size in zip(rows, sizes, strict=True):
            if size != usual:
                raise ValueError(f"epoch {row.epoch}: {size} parameters instead of {usual}") from None
        raise


def _as_history(rows: Sequence[Any]) -> History:
    import numpy as np  # not at the top: commands that read no epochs start in half the time

    from db.history import History

    if not rows:
        return History.empty(0, 0)
    epoch, train_loss, test_loss, parameters, trained_at = zip(*rows, strict=True)
    with np.errstate(over="raise"):
        return History(
            epoch=np.array(epoch, np.int64),
            train_loss=np.array(train_loss, np.float32),
            test_loss=np.array(test_loss, np.float32),
            parameters=unpack(parameters)
            if isinstance(parameters[0], str)
            else np.array(parameters, np.float32),
            trained_at=np.array(trained_at, np.float64),
        )


def from_archive(row: Any, first_epoch: int = 0, last_epoch: int | None = None, step: int = 1) -> History:
    """Epochs of an archived model, as `Store.history` has them. `row` is one of `ARCHIVED`.

    Raises ValueError if the archive is damaged or missing.
    """
    import numpy as np  # not at the top: commands that read no epochs start in half the time

    from db.archive import unpack
    from db.history import History

    if row.packed is None:
        raise ValueError("the archive is missing")
    values = unpack(row.packed, row.epochs, row.columns, 4)
    times = unpack(row.trained_at, row.epochs, 1, 8)
    epochs = np.arange(row.epochs)[first_epoch : None if last_epoch is None else last_epoch + 1]
    epochs = epochs[epochs % step == 0]
    train_loss, test_loss, *_ = np.ascontiguousarray(values[epochs].T)
    return History(epochs, train_loss, test_loss, values[epochs, 2:], times[epochs, 0])


def one_snapshot(session: Session) -> None:
    """Let all queries of a transaction that has just begun see the same state, as they do on SQLite."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def insert_epochs(connection: Connection, run_id: int, model: str, history: History) -> None:
    """Insert all epochs of `history` in the connection's transaction, in the database's fastest way."""
    backend = sqlite if connection.dialect.name == "sqlite" else postgresql
    backend.insert_epochs(connection, COLUMNS, run_id, model, history)
