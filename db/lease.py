"""The lease of a run: only the process whose token is in the run's row may write to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Delete, Update, func, insert, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.digest import extend
from db.epochs import as_history, digest_before, insert_epochs, require_whole, set_digests, stored_rows
from db.errors import LeaseHeldError, LeaseLostError, StoreError, naming
from db.owner import is_alive, is_dead
from db.schema import UNFINISHED, BaselineRow, BlockRow, EpochRow, ModelRow, RunRow, ScheduledRunRow
from db.types import database_now, seconds_since

if TYPE_CHECKING:
    from db.history import History, State
    from db.store import Store

Result = TypeVar("Result")
BEAT = 2.0
"""seconds without a stored block after which a trainer renews its heartbeat"""
HEARTBEAT_LIMIT = 3.0
"""seconds between heartbeats that a live trainer does not exceed"""


def update_run(run_id: int) -> Update:
    """An UPDATE of one run that does not synchronise the session's objects."""
    return update(RunRow).where(RunRow.id == run_id).execution_options(synchronize_session=False)


def lock_run(session: Session, run_id: int) -> None:
    """Wait for whoever prunes, archives or resumes the run. SQLite has one writer at a time anyway."""
    session.execute(select(RunRow.id).where(RunRow.id == run_id).with_for_update())


def rowcount(session: Session, statement: Update | Delete) -> int:
    """Execute an UPDATE or a DELETE; return the number of its rows."""
    result = session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount


def stalled_runs(session: Session, heartbeat_timeout: float) -> list[tuple[int, str | None, str]]:
    """The stalled runs, and running ones whose process is known to be dead: id, owner, reason."""
    overdue_now = seconds_since(RunRow.heartbeat_at) > heartbeat_timeout
    running = select(RunRow.id, RunRow.owner, overdue_now).where(RunRow.status == "running")
    found = []
    for run_id, owner, overdue in session.execute(running).all():
        if overdue and not is_alive(owner):  # a clock may be wrong; a process seen running is alive
            found.append((run_id, owner, f"no heartbeat for more than {heartbeat_timeout:g} s"))
        elif is_dead(owner):
            found.append((run_id, owner, "its process has ended"))
    return found


def mark_crashed(session: Session, heartbeat_timeout: float) -> None:
    """Mark stalled runs as crashed."""
    for run_id, owner, reason in stalled_runs(session, heartbeat_timeout):
        # Skip locked rows: their writer may itself be stuck.
        unlocked = select(RunRow.id).where(RunRow.id == run_id).with_for_update(skip_locked=True)
        # Keep the owner: a trainer that only lost its connection takes the run back.
        session.execute(
            update_run(run_id)
            .where(RunRow.id.in_(unlocked), RunRow.status == "running", RunRow.owner == owner)
            .values(status="crashed", stop_reason=reason, finished_at=RunRow.heartbeat_at)
        )


class StillHeldError(Exception):
    """A run cannot be acquired yet: `owner` holds the lease of it, or of `run_id`, which must end first.

    `heartbeat_age`: seconds since the holder's last heartbeat.
    """

    def __init__(self, run_id: int, owner: str, heartbeat_age: float) -> None:
        super().__init__(run_id)
        self.run_id, self.owner, self.heartbeat_age = run_id, owner, heartbeat_age


def still_held(session: Session, run: RunRow) -> StillHeldError:
    """The error that names the lease holder of a running run."""
    heartbeat_age = session.scalar(select(seconds_since(RunRow.heartbeat_at)).where(RunRow.id == run.id))
    return StillHeldError(run.id, run.owner or "", float(heartbeat_age or 0.0))


def require_no_live_nightly(session: Session, heartbeat_timeout: float) -> None:
    """Raise StillHeldError if a nightly run is live."""
    mark_crashed(session, heartbeat_timeout)
    run = session.scalar(select(RunRow).where(RunRow.trigger == "nightly", RunRow.status == "running"))
    if run is not None:
        raise still_held(session, run)


def settle_due(session: Session, scheduled_run_id: int, **values: object) -> bool:
    """Update the columns of a due scheduled run; False if it is no longer due."""
    due = (ScheduledRunRow.id == scheduled_run_id, ScheduledRunRow.status == "due")
    statement = update(ScheduledRunRow).where(*due).values(**values)
    return rowcount(session, statement.execution_options(synchronize_session=False)) == 1


def acquire(store: Store, work: Callable[[Session, int], Result]) -> Result:
    """The result of writing `work`, retried while it raises StillHeldError and the lease holder may be dead.

    Raises LeaseHeldError once the holder is seen to be alive, and StoreError if `store.stop` is set first.
    """
    first: StillHeldError | None = None
    deadline = time.monotonic() + store.heartbeat_timeout + 5
    while True:
        try:
            return store.write(work)
        except StillHeldError as held:
            found = held
        if first is None:
            first = found
            if found.heartbeat_age > HEARTBEAT_LIMIT:
                store.log_line(
                    f"run {found.run_id} is marked as running, but has had no heartbeat for "
                    f"{found.heartbeat_age:.0f} s; waiting until {store.heartbeat_timeout:g} s have passed"
                )
        # The last heartbeat of a process that has ended may be committed late.
        beaten = found.owner != first.owner or found.heartbeat_age < first.heartbeat_age
        if (beaten and not is_dead(found.owner)) or time.monotonic() > deadline:
            raise LeaseHeldError(
                f"run {found.run_id} is being trained by another process; leave it to that one"
            )
        first = found
        if store.stop.wait(0.5):
            raise StoreError(f"stopped while waiting for run {found.run_id}")


def try_acquire(
    session: Session, run_id: int, token: str, heartbeat_timeout: float, epochs: int | None, environment: Any
) -> None:
    """Acquire the lease of a stopped run for `token`. `epochs` lengthens the run.

    Raises StoreError for a run that cannot be resumed, and StillHeldError if another process has the lease.
    """
    mark_crashed(session, heartbeat_timeout)
    run = session.get_one(RunRow, run_id)
    wanted = run.epochs if epochs is None else epochs
    if run.owner == token and run.status == "running":
        return  # an earlier attempt was committed before its connection broke
    if run.status == "running":
        raise still_held(session, run)
    if run.status == "diverged":
        raise StoreError(
            f"run {run_id} diverged ({run.stop_reason}); it would diverge again: start a new one"
        )
    require_whole([run], "resumed")
    if wanted < run.epochs:
        raise StoreError(f"run {run_id} is to have {run.epochs:,} epochs; --epochs only lengthens it")
    if run.status == "completed" and wanted <= run.epochs:
        raise StoreError(f"run {run_id} is complete with {run.epochs:,} epochs; --epochs N lengthens it")
    if session.scalar(select(BaselineRow.id).where(BaselineRow.run_id == run_id).limit(1)):
        raise StoreError(f"run {run_id} is or was a baseline, so it keeps its {run.epochs:,} epochs")
    lock_run(session, run_id)  # as archiving does
    session.refresh(run, ["archived"])
    if run.archived:
        raise StoreError(f"run {run_id} is archived; `job db unarchive {run_id}` puts its epochs back")
    states = checkpoints(session, run)
    following = {model.name: states[model.name].epoch if model.name in states else 0 for model in run.models}
    statement = (
        update_run(run_id)
        .where(RunRow.status.in_((*UNFINISHED, "completed")), RunRow.whole)
        .where(RunRow.owner.is_not_distinct_from(run.owner))
        .values(
            status="running",
            owner=token,
            epochs=wanted,
            resumes=RunRow.resumes + 1,
            heartbeat_at=database_now(),
            stop_reason=None,
            finished_at=None,
            environment=with_resume(run.environment, environment, following),
        )
    )
    try:
        acquired = rowcount(session, statement) == 1
    except IntegrityError as error:
        raise StoreError(f"run {run_id} is a nightly run, and another one is live") from error
    if not acquired:
        raise StillHeldError(run_id, "", 0.0)
    session.execute(update(ModelRow).where(ModelRow.run_id == run_id).values(digest=None))


def checkpoints(session: Session, run: RunRow) -> dict[str, State]:
    """Each model's state after its last epoch. Raises StoreError if that is corrupted or one is missing."""
    lengths = select(EpochRow.model, func.count(), func.max(EpochRow.epoch) + 1)
    found = session.execute(lengths.where(EpochRow.run_id == run.id).group_by(EpochRow.model)).all()
    states = {}
    for model, count, following in found:
        if count != following:
            raise StoreError(
                f"run {run.id} lacks {following - count:,} epochs of {model} before epoch {following - 1}; "
                "a history with holes cannot be continued"
            )
        last = stored_rows(run.id, model).where(EpochRow.epoch == following - 1)
        with naming(f"run {run.id}, {model}"):
            states[model] = as_history(session.execute(last).all()).state
            if len(states[model].parameters) != len(run.parameters):
                raise ValueError(f"epoch {following - 1}: {len(states[model].parameters)} parameters")
    return states


def with_resume(before: dict[str, Any], now: dict[str, Any], epochs: dict[str, int]) -> dict[str, Any]:
    """The environment of a run resumed at these epochs of its models: the first one, and what has changed."""
    names = [name for name in now if before.get(name) != now[name]]
    changes = {name: changed_part(before.get(name), now[name]) for name in names}
    resume = {"epoch": max(epochs.values(), default=0), "epochs": epochs, "changed": changes}
    return before | {"resumes": [*before.get("resumes", []), resume]}


def changed_part(before: Any, now: Any) -> Any:
    """What of `now` differs from `before`; of objects those members, None for one that is gone."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return now
    names = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    return {name: changed_part(before.get(name), now.get(name)) for name in names}


class RunWriter:
    """The lease holder of one run and its only writer, as long as its token is in the run's row.

    Every method raises LeaseLostError if the lease is lost, and StoreFailedError if the database stays
    unreachable for too long.
    """

    def __init__(self, store: Store, run_id: int, token: str) -> None:
        self.store = store
        self.run_id = run_id
        self.token = token
        self._renewed = time.monotonic()
        self._digests: dict[str, bytes] = {}
        """by model, the digest after its last stored epoch"""

    @contextmanager
    def beating(self) -> Iterator[None]:
        """While open, a thread renews the heartbeat if no block has done so for BEAT seconds.

        A heartbeat means that the process is alive and reaches the database, not that training advances.
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(1)  # at most a second: the database may hang

    def _beat(self, ended: threading.Event) -> None:
        store, own = self.store, None
        pause = min(BEAT, store.heartbeat_timeout / 3)
        while not ended.wait(pause):
            if time.monotonic() - self._renewed < pause:
                continue
            with suppress(StoreError):  # storing the next block raises it
                # On its own connection: the trainer's may be blocked.
                own = own or type(store)(
                    store.url.render_as_string(hide_password=False),
                    database_timeout=store.waiting.limit,
                    stop=store.stop,
                )
                own.write(self._renew)
        if own is not None:
            own.close()

    def append(self, model: str, history: History) -> None:
        """Store consecutive epochs of a model, their digest, and the heartbeat, in one transaction."""
        history = history.as_stored()
        first, last = int(history.epoch[0]), int(history.epoch[-1])
        before = self._digests.get(model) or self.store.read(
            lambda session: digest_before(session, self.run_id, model, first)
        )
        digest = extend(before, history)

        def work(session: Session, attempt: int) -> None:
            self._renew(session, attempt)
            if attempt > 1 and session.get(BlockRow, (self.run_id, model, last)) is not None:
                return  # committed before the connection broke
            session.execute(
                insert(BlockRow).values(run_id=self.run_id, model=model, last_epoch=last, digest=digest.hex())
            )
            insert_epochs(session.connection(), self.run_id, model, history)

        self.store.write(work)
        self._digests[model] = digest

    def finish(self, status: str, stop_reason: str | None = None) -> None:
        """End the run with a status other than `running` and release the lease."""

        def work(session: Session, attempt: int) -> None:
            if attempt > 1:
                run = session.get_one(RunRow, self.run_id)
                if (run.status, run.owner) == (status, None):
                    return  # committed before the connection broke
            end = {"status": status, "stop_reason": stop_reason, "finished_at": database_now(), "owner": None}
            self._renew(session, attempt, **end)
            if status == "completed":
                set_digests(session, self.run_id)

        self.store.write(work)

    def _renew(self, session: Session, attempt: int, **values: object) -> None:
        # After a lost connection, a trainer takes back a run that others have marked as crashed. A trainer
        # that was itself stuck does not: it has lost the lease.
        alive = ("running",) if attempt == 1 else ("running", "crashed")
        statement = (
            update_run(self.run_id)
            .where(RunRow.owner == self.token, RunRow.status.in_(alive))
            .values(**{"status": "running", "stop_reason": None, "finished_at": None} | values)
            .values(heartbeat_at=database_now())
        )
        try:
            renewed = rowcount(session, statement) == 1
        except IntegrityError:  # only one nightly run may be live, and another one is
            renewed = False
        if not renewed:
            raise LeaseLostError(
                f"run {self.run_id} is no longer this process's: its heartbeat was overdue, or it was taken "
                "over; nothing more is written to it"
            )
        self._renewed = time.monotonic()
