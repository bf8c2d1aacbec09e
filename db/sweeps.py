"""The runs of a sweep: one for each combination of a seed and a learning rate, under one name."""

from __future__ import annotations

from sqlalchemy import and_, select

from db.errors import NotFoundError
from db.schema import DatasetRow, EpochRow, ModelRow, RunRow
from db.store import Store


def runs_of(store: Store, name: str) -> list[RunRow]:
    """The runs of a sweep, by learning rate and seed. Raises NotFoundError if there are none."""
    query = select(RunRow).where(RunRow.sweep == name).order_by(RunRow.learning_rate, RunRow.seed, RunRow.id)
    found = list(store.all(query))
    if not found:
        every = select(RunRow.sweep).where(RunRow.sweep.is_not(None)).distinct().order_by(RunRow.sweep)
        names = store.all(every)
        known = f"there are {', '.join(map(str, names))}" if names else "`job sweep` makes one"
        raise NotFoundError(f"there is no sweep {name!r}; {known}")
    return found


def tables_of(store: Store, name: str) -> set[tuple[str, str, str]]:
    """(data sha256, target, reading) of a sweep's runs: one or none; an old `job sweep` mixed several."""
    query = select(DatasetRow.sha256, DatasetRow.target, DatasetRow.reading).join(
        RunRow, RunRow.dataset_id == DatasetRow.id
    )
    rows = store.read(lambda session: session.execute(query.where(RunRow.sweep == name).distinct()).all())
    return {(sha256, target, reading) for sha256, target, reading in rows}


def losses(store: Store, name: str, epochs: list[int]) -> list[tuple[int, int, float, float]]:
    """(run, epoch, train loss, test loss) of each run's first model at those epochs, in order.

    Raises NotFoundError if there is no such sweep.
    """
    query = (
        select(EpochRow.run_id, EpochRow.epoch, EpochRow.train_loss, EpochRow.test_loss)
        .join(RunRow, RunRow.id == EpochRow.run_id)
        .join(ModelRow, and_(ModelRow.run_id == RunRow.id, ModelRow.name == EpochRow.model))
        .where(RunRow.sweep == name, ModelRow.position == 0, EpochRow.epoch.in_(epochs), ~RunRow.archived)
    )
    rows = store.read(lambda session: session.execute(query).all())
    found = [(run, epoch, train, test) for run, epoch, train, test in rows]
    read, wanted = {run for run, *_ in found}, {*epochs}
    for run in runs_of(store, name):
        if run.id not in read:  # archived, or without epochs
            history = store.history(run.id, run.models[0].name)
            columns = (history.epoch.tolist(), history.train_loss.tolist(), history.test_loss.tolist())
            found += [(run.id, *row) for row in zip(*columns, strict=True) if row[0] in wanted]
    return sorted(found)
