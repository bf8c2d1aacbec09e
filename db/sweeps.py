"""The runs of a sweep: one for each combination of a seed and a learning rate, under a common name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.errors import NotFoundError
from db.schema import DatasetRow, EpochRow, RunRow

if TYPE_CHECKING:
    from db.store import Store


def combination(
    name: str, dataset: DatasetRow, *, epochs: int, learning_rate: float, seed: int
) -> Select[RunRow]:
    """The newest run of one combination of a sweep."""
    return (
        select(RunRow)
        .join(RunRow.dataset)
        .where(
            RunRow.sweep == name,
            RunRow.epochs == epochs,
            RunRow.learning_rate == learning_rate,
            RunRow.seed == seed,
            DatasetRow.sha256 == dataset.sha256,
            DatasetRow.target == dataset.target,
        )
        .order_by(RunRow.id.desc())
        .limit(1)
    )


def lock_dataset(session: Session, dataset_id: int) -> None:
    """Let one transaction at a time start runs on a dataset, so that no combination is started twice.

    On SQLite a transaction that writes is alone in any case.
    """
    session.execute(select(DatasetRow.id).where(DatasetRow.id == dataset_id).with_for_update())


def runs_of(store: Store, name: str) -> list[RunRow]:
    """The runs of a sweep, by learning rate and seed. Raises NotFoundError where there are none."""
    query = select(RunRow).where(RunRow.sweep == name).order_by(RunRow.learning_rate, RunRow.seed, RunRow.id)
    found = list(store.runs(query))
    if not found:
        names = store.read(
            lambda session: session.scalars(
                select(RunRow.sweep).where(RunRow.sweep.is_not(None)).distinct().order_by(RunRow.sweep)
            ).all()
        )
        known = f"there are {', '.join(map(str, names))}" if names else "`job sweep` makes one"
        raise NotFoundError(f"there is no sweep {name!r}; {known}")
    return found


def losses(store: Store, name: str, model: str, epochs: list[int]) -> list[tuple[int, int, float, float]]:
    """(run, epoch, train loss, test loss) of one model of each run of a sweep at those epochs, in order."""
    query = (
        select(EpochRow.run_id, EpochRow.epoch, EpochRow.train_loss, EpochRow.test_loss)
        .join(RunRow, RunRow.id == EpochRow.run_id)
        .where(RunRow.sweep == name, EpochRow.model == model, EpochRow.epoch.in_(epochs))
        .order_by(EpochRow.run_id, EpochRow.epoch)
    )
    rows = store.read(lambda session: session.execute(query).all())
    return [(run, epoch, train, test) for run, epoch, train, test in rows]
