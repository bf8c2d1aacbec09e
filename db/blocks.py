"""The digests that are stored with each block of epochs."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.digest import start
from db.errors import StoreError
from db.schema import BlockRow, ModelRow, ParameterRow


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
