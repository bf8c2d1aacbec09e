"""Epochs as rows: read and written in blocks, their digests, and what pruning has left of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, select, text, update
from sqlalchemy.orm import Session

from db.backends import postgresql, sqlite
from db.digest import start
from db.errors import StoreError, UnsuitableRunError
from db.schema import BlockRow, EpochRow, ModelRow, ParameterRow, RunRow
from db.types import unpack

if TYPE_CHECKING:
    from db.history import History

HISTORY_COLUMNS = ("epoch", "train_loss", "test_loss", "parameters", "trained_at")
NOT_READ = (TypeError, ValueError, FloatingPointError)
"""what reading a corrupted value raises; the last for a number beyond float32"""
ARCHIVED = text(
    "SELECT a.epochs, a.columns, a.packed, m.trained_at FROM archived_models m"
    " LEFT JOIN archives a ON a.digest = m.digest WHERE m.run_id = :run_id AND m.model = :model"
)
"""the archive of a model; no row if it is not archived"""


def stored_rows(run_id: int, model: str) -> Select[Any]:
    """The rows of one model in `epochs`, in order; of an archived one those that are left."""
    epochs = EpochRow.__table__
    return (
        select(*(epochs.c[name] for name in HISTORY_COLUMNS))
        .where(epochs.c.run_id == run_id, epochs.c.model == model)
        .order_by(epochs.c.epoch)
    )


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
    backend.insert_epochs(connection, run_id, model, history)


def blocks(session: Session, run_id: int) -> dict[str, list[tuple[int, str | None]]]:
    """The last epoch and the digest of each block of a run, by model, in order."""
    query = select(BlockRow.model, BlockRow.last_epoch, BlockRow.digest).where(BlockRow.run_id == run_id)
    found: dict[str, list[tuple[int, str | None]]] = {}
    for model, last_epoch, digest in session.execute(query.order_by(BlockRow.model, BlockRow.last_epoch)):
        found.setdefault(model, []).append((last_epoch, digest))
    return found


def digest_before(session: Session, run_id: int, model: str, epoch: int) -> bytes:
    """The digest of a model's history before `epoch`. Raises StoreError if the history does not end there."""
    newest = (
        select(BlockRow.last_epoch, BlockRow.digest)
        .where(BlockRow.run_id == run_id, BlockRow.model == model)
        .order_by(BlockRow.last_epoch.desc())
        .limit(1)
    )
    found = session.execute(newest).first()
    if found is None and epoch == 0:
        names = select(ParameterRow.name).where(ParameterRow.run_id == run_id)
        return start(session.scalars(names.order_by(ParameterRow.position)))
    if found is None or found.digest is None or found.last_epoch + 1 != epoch:
        raise StoreError(f"run {run_id} has no digest of {model} before epoch {epoch}")
    return bytes.fromhex(found.digest)


def set_digests(session: Session, run_id: int) -> None:
    """Give each model of a completed run the digest of its last block."""
    last = (
        select(BlockRow.digest)
        .where(BlockRow.run_id == ModelRow.run_id, BlockRow.model == ModelRow.name)
        .order_by(BlockRow.last_epoch.desc())
        .limit(1)
        .scalar_subquery()
    )
    statement = update(ModelRow).where(ModelRow.run_id == run_id).values(digest=last)
    session.execute(statement.execution_options(synchronize_session=False))


def require_whole(runs: Sequence[RunRow], purpose: str) -> None:
    """Raises UnsuitableRunError if one of the runs has lost epochs to `job prune`."""
    for run in runs:
        if not run.whole:
            left = what_is_left(run)
            raise UnsuitableRunError(f"run {run.id} is {left}; only a whole run can be {purpose}")


def what_is_left(run: RunRow) -> str:
    """What pruning has left of a run, in words."""
    if run.pruning == "delete":
        return "half deleted; the next `job prune` finishes it"
    if run.pruning == "thin":
        return f"half downsampled to every {run.thinned_every:,}th epoch; the next `job prune` finishes it"
    return f"downsampled to every {run.thinned_every:,}th epoch, and the first, the best and the last"


def kept_epochs(histories: Iterable[History]) -> list[int]:
    """The epochs that pruning keeps of every model: first, best by either loss, last."""
    found = set()
    for each in histories:
        rows = (0, int(each.train_loss.argmin()), int(each.test_loss.argmin()), -1)
        found |= {int(each.epoch[row]) for row in rows}
    return sorted(found)
