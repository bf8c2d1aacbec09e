"""Who may write to a run: exactly the process whose token stands in it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.bulk import insert_epochs
from db.errors import LeaseLostError
from db.history import History
from db.schema import EpochRow, RunRow
from db.types import database_now, seconds_since

if TYPE_CHECKING:
    from db.store import Store


def notice_crashes(session: Session, heartbeat_timeout: float) -> None:
    """Mark running runs that have been silent for longer than the timeout as crashed."""
    session.execute(
        update(RunRow)
        .where(RunRow.status == "running", seconds_since(RunRow.heartbeat_at) > heartbeat_timeout)  # type: ignore[arg-type]
        .values(
            status="crashed",
            stop_reason=f"no heartbeat for more than {heartbeat_timeout:g} s",
            finished_at=RunRow.heartbeat_at,
        )
        .execution_options(synchronize_session=False)
    )


class RunWriter:
    """The only writer of one run, for as long as its token stands in the run's row.

    Every method raises LeaseLostError once another process has taken the run over.
    """

    def __init__(self, store: Store, run_id: int, token: str) -> None:
        self.store = store
        self.run_id = run_id
        self.token = token

    @staticmethod
    def new_token() -> str:
        """A token that no other process has."""
        return uuid.uuid4().hex

    def append(self, model: str, history: History) -> None:
        """Store consecutive epochs of a model and renew the heartbeat, all in one transaction."""

        def work(session: Session, attempt: int) -> None:
            self._renew(session, attempt)
            missing = history
            if attempt > 1:  # the first attempt may have been committed before its connection broke
                last = session.scalar(
                    select(func.max(EpochRow.epoch)).where(
                        EpochRow.run_id == self.run_id, EpochRow.model == model
                    )
                )
                missing = history[int((history.epoch <= (-1 if last is None else last)).sum()) :]
            if len(missing):
                insert_epochs(session.connection(), self.run_id, model, missing)

        self.store.write(work)

    def finish(self, status: str, stop_reason: str | None = None) -> None:
        """End the run with a status other than `running` and give the lease back."""
        self.store.write(
            lambda session, attempt: self._renew(
                session,
                attempt,
                status=status,
                stop_reason=stop_reason,
                finished_at=database_now(),
                owner=None,
            )
        )

    def _renew(self, session: Session, attempt: int, **values: object) -> None:
        # A run that others declared crashed while its database was away is taken back by its trainer.
        # One declared crashed while the trainer itself stood still is not: that trainer has lost it.
        alive = ("running",) if attempt == 1 else ("running", "crashed")
        statement = (
            update(RunRow)
            .where(RunRow.id == self.run_id, RunRow.owner == self.token, RunRow.status.in_(alive))
            .values(**{"status": "running", "stop_reason": None, "finished_at": None} | values)
            .values(heartbeat_at=database_now())
            .execution_options(synchronize_session=False)
        )
        try:
            result = session.execute(statement)
        except IntegrityError:  # one live nightly at a time, and another lives by now
            renewed = 0
        else:
            assert isinstance(result, CursorResult)
            renewed = result.rowcount
        if not renewed and not self._already(session, values.get("status"), attempt):
            raise LeaseLostError(
                f"run {self.run_id} is no longer this process's: it was silent for too long or was taken "
                "over; nothing more is written to it"
            )

    def _already(self, session: Session, status: object, attempt: int) -> bool:
        """Whether an earlier attempt, whose connection broke, ended the run after all."""
        if attempt == 1 or status is None:
            return False
        row = session.execute(select(RunRow.status, RunRow.owner).where(RunRow.id == self.run_id)).one()
        return (row.status, row.owner) == (status, None)
