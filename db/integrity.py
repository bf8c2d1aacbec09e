"""Whether a stored history is the one that was written: its digests, computed again from its epochs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.orm import Session

from db.digest import BLOCK_EPOCHS, extend, start
from db.epochs import as_history, blocks, kept_epochs, require_whole, set_digests, stored_rows
from db.errors import CorruptedError, StoreError, UnsuitableRunError
from db.history import History
from db.schema import BlockRow, EpochRow, ModelRow, RunRow
from db.store import Store
from db.types import first_not_packed

PART = 20_000
"""epochs that are read at once, unless a block is longer"""
DIFFERENT = "not what was written: the epochs or their digest were changed"
DIGEST_CHANGED = "the digest was changed; the epochs were not"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is first found in a run's history that is not as it was written."""

    detail: str
    first_epoch: int | None = None
    """of the block"""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive epochs, and the digest that was stored with them."""

    first: int
    last: int
    digest: str | None

    def fault(self, model: str, what: str) -> Fault:
        """A fault in this block of a model."""
        return Fault(f"{model}, epochs {self.first:,} to {self.last:,}: {what}", self.first)


def first_fault(store: Store, run: RunRow, histories: dict[str, History] | None = None) -> Fault | None:
    """The first fault in a whole run's history; None if it is as it was written.

    `histories`, if given, takes the history of each model before a fault. Raises StoreError for a downsampled
    run, whose digests can no longer be computed, for a run whose digests are not computed yet, and if the run
    changes meanwhile.
    """
    require_whole([run], "verified")
    found = read_fault(store, run, histories)
    if found is not None:
        now = store.run(run.id)
        require_whole([now], "verified")
        if (now.status, now.resumes, now.epochs) != (run.status, run.resumes, run.epochs):
            raise UnsuitableRunError(f"run {run.id} has changed while it was read; try again")
    return found


def read_fault(store: Store, run: RunRow, histories: dict[str, History] | None) -> Fault | None:
    """The first fault as `first_fault` has it; the run may have changed meanwhile."""
    stored = store.read(lambda session: blocks(session, run.id))
    for model in run.models:
        parts = [History.empty(0, len(run.parameters))]
        for found in checked(store, run, model, stored.get(model.name, [])):
            if isinstance(found, Fault):
                return found
            if histories is not None:
                parts.append(found)
        if histories is not None:
            histories[model.name] = History.concatenate(parts)
    if unknown := sorted(stored.keys() - {model.name for model in run.models}):
        return Fault(f"{unknown[0]}: there are digests, and the run has no such model")
    return foreign_epochs(store, run) or (changed_rows(store, run) if run.archived else None)


def checked(
    store: Store, run: RunRow, model: ModelRow, stored: Sequence[tuple[int, str | None]]
) -> Iterator[History | Fault]:
    """The epochs of one model by block, up to its first fault."""
    digest, trained = start(run.parameter_names), 0
    unlike: Block | None = None
    made = as_blocks(stored)
    for block, history in zip(made, histories_by_block(store, run.id, model.name, made), strict=True):
        if isinstance(history, str):
            yield (unlike or block).fault(model.name, DIFFERENT if unlike else history)
            return
        if block.digest is None:
            raise StoreError(f"the digests of run {run.id} are not computed yet; `job db upgrade` does that")
        digest, trained = extend(digest, history), block.last + 1
        same = digest.hex() == block.digest
        if unlike and same:  # later digests agree with the epochs
            yield unlike.fault(model.name, DIGEST_CHANGED)
            return
        unlike = unlike or (None if same else block)
        if not unlike:
            yield history
    whole = digest.hex() if trained else None
    if unlike:
        yield unlike.fault(model.name, DIGEST_CHANGED if model.digest == whole else DIFFERENT)
    elif run.status == "completed" and trained != run.epochs:
        yield Fault(f"{model.name} has digests of {trained:,} epochs, and the run {run.epochs:,}", trained)
    elif run.status != "completed" and model.digest:
        yield Fault(f"{model.name} has the digest of a completed run, and the run is {run.status}")
    elif run.status == "completed" and model.digest != whole:
        what = "was changed" if model.digest else "is missing"
        yield Fault(f"{model.name}: the digest of the whole history {what}; the epochs were not changed")


def as_blocks(stored: Sequence[tuple[int, str | None]]) -> list[Block]:
    """The blocks of one model, from the last epoch and the digest of each, in order."""
    firsts = [0, *(last + 1 for last, _ in stored)]
    return [Block(first, *block) for first, block in zip(firsts, stored, strict=False)]


def histories_by_block(
    store: Store, run_id: int, model: str, made: Sequence[Block]
) -> Iterator[History | str]:
    """The history of each block, or what shows, without its digest, that it is not as written."""
    begun = 0
    while begun < len(made):
        first, ended = made[begun].first, begun + 1
        while ended < len(made) and made[ended].last - first < PART:
            ended += 1
        group, begun = made[begun:ended], ended
        try:
            rows = store.epoch_rows(run_id, model, first, group[-1].last)
        except CorruptedError as error:
            if len(group) == 1:
                yield str(error)
            else:
                for block in group:
                    yield from histories_by_block(store, run_id, model, [block])
            continue
        numbers = numbers_of(rows)
        for block in group:
            own = slice(bisect_left(numbers, block.first), bisect_right(numbers, block.last))
            yield as_written(block, rows[own])


def numbers_of(rows: list[Any] | History) -> list[int]:
    """The epochs of what `Store.epoch_rows` gives."""
    return [row[0] for row in rows] if isinstance(rows, list) else rows.epoch.tolist()


def as_written(block: Block, rows: list[Any] | History) -> History | str:
    """The history of a block's rows, or what shows, without its digest, that they are not as written."""
    expected = range(block.first, block.last + 1)
    epochs = numbers_of(rows)
    if missing := sorted({*expected} - {*epochs}):
        return f"epoch {missing[0]:,} is missing" + f" and {len(missing) - 1:,} more" * (len(missing) > 1)
    if epochs != [*expected]:
        return "an epoch is there twice"
    return as_float32(rows) if isinstance(rows, list) else rows


def as_float32(rows: list[Any]) -> History | str:
    """The history of rows of `HISTORY_COLUMNS`, or the first value of them that is not an exact float32."""
    try:
        history = as_history(rows)
    except ValueError as error:
        return f"a value in the store is corrupted: {error}"
    # The digest does not notice a change in digits that float32 does not have.
    _, train_loss, test_loss, parameters, _ = zip(*rows, strict=True)
    for name, stored, read in (
        ("train loss", train_loss, history.train_loss),
        ("test loss", test_loss, history.test_loss),
    ):
        exact = np.array(stored) == read
        if not exact.all():
            return f"epoch {rows[int(exact.argmin())][0]:,}: the {name} was changed: it is no float32"
    if isinstance(parameters[0], str):
        changed = first_not_packed(parameters, history.parameters)
        if changed is not None:
            return f"epoch {rows[changed][0]:,}: a parameter was changed: it is no float32"
    return history


def foreign_epochs(store: Store, run: RunRow) -> Fault | None:
    """Epochs that no block has, or of a model that the run does not have."""
    ends = (
        select(BlockRow.model, func.max(BlockRow.last_epoch).label("epoch"))
        .where(BlockRow.run_id == run.id)
        .group_by(BlockRow.model)
        .subquery()
    )
    known = [model.name for model in run.models]
    query = (
        select(EpochRow.model, func.min(EpochRow.epoch))
        .outerjoin(ends, ends.c.model == EpochRow.model)
        .where(
            EpochRow.run_id == run.id,
            or_(ends.c.epoch.is_(None), EpochRow.epoch > ends.c.epoch, EpochRow.model.not_in(known)),
        )
        .group_by(EpochRow.model)
    )
    found = store.read(lambda session: session.execute(query).first())
    if found is None:
        return None
    return Fault(f"{found[0]}: epoch {found[1]:,} is there, and the trainer did not store it", found[1])


def changed_rows(store: Store, run: RunRow) -> Fault | None:
    """The first row in `epochs` of an archived run that its archive has otherwise, or that is missing."""
    archived = {model.name: store.history(run.id, model.name) for model in run.models}
    kept = kept_epochs(archived.values())
    for model, whole in archived.items():
        query = stored_rows(run.id, model)
        try:
            rows = list(store.read(lambda session, query=query: session.execute(query).all()))  # type: ignore[misc]
        except CorruptedError as error:
            return Fault(f"{model}: {error}")
        if missing := sorted({*kept} - {*numbers_of(rows)}):
            return Fault(f"{model}: the row of epoch {missing[0]:,} is missing", missing[0])
        history = as_float32(rows)
        if isinstance(history, str):
            return Fault(f"{model}: {history}")
        original = whole[history.epoch]
        if history.parameters.shape != original.parameters.shape:
            return Fault(f"{model}: the rows have {history.parameters.shape[1]} parameters")
        differing = history.trained_at != original.trained_at
        differing |= (history.values.view(np.uint32) != original.values.view(np.uint32)).any(axis=1)
        if differing.any():
            epoch = int(history.epoch[differing.argmax()])
            cure = f"`job db unarchive {run.id}` puts the rows of the archive back"
            return Fault(f"{model}: the row of epoch {epoch:,} is not what its archive has; {cure}", epoch)
    return None


def runs_without_digests(store: Store) -> Sequence[int]:
    """The runs of earlier versions whose digests are not computed yet, oldest first."""
    query = select(BlockRow.run_id).where(BlockRow.digest.is_(None)).distinct().order_by(BlockRow.run_id)
    return store.all(query)


def compute_digests(store: Store, run_id: int) -> Fault | None:
    """Store the digests of a run of an earlier version in one transaction, or return what prevents it."""
    run = store.run(run_id)
    trained = store.progress(run_id)
    found: list[dict[str, Any]] = []
    for model in trained:
        digest = start(run.parameter_names)
        ends = (*range(BLOCK_EPOCHS - 1, trained[model] - 1, BLOCK_EPOCHS), trained[model] - 1)
        made = as_blocks([(end, None) for end in ends])
        for block, history in zip(made, histories_by_block(store, run_id, model, made), strict=True):
            if isinstance(history, str):
                return block.fault(model, history)
            digest = extend(digest, history)
            found.append({"model": model, "last_epoch": block.last, "digest": digest.hex()})

    def work(session: Session, _: int) -> None:
        own = BlockRow.run_id == run_id
        if session.scalar(select(func.count()).where(own, BlockRow.digest.is_(None))) == 0:
            return  # another upgrade was first
        session.execute(delete(BlockRow).where(own))
        session.execute(insert(BlockRow), [{"run_id": run_id, **block} for block in found])
        if run.status == "completed":
            set_digests(session, run_id)

    store.write(work)
    return None
