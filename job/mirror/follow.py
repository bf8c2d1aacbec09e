"""The follower: a process that draws a run's epochs during the training, soon after they are stored."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from db.errors import NotFoundError, StoreError
from db.store import Store
from job.errors import MirrorError
from job.mirror.files import LogLine
from job.mirror.logs import RunLogs

POLL = 1.0
"""seconds between checks of the store"""
GRACE = 10.0
"""seconds that the follower goes on after SIGTERM, to draw the last epochs of a trainer stopped with it"""
LOCK_PATIENCE = 30.0
"""seconds to wait for the lock if the follower of a killed trainer still holds it"""
NICENESS = 5
"""niceness: on a machine with too few cores the trainer has priority"""


class Trainer:
    """The trainer at the other end of our standard input, which closes when the trainer finishes or dies."""

    def __init__(self) -> None:
        self.deadline = float("inf")
        self.stop = threading.Event()
        """set by SIGTERM; a database that hangs is then not waited for"""

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; whether no more epochs will come."""
        left = min(seconds, self.deadline - time.monotonic())
        if left <= 0:
            return True
        ready, _, _ = select.select([0], [], [], left)
        return bool(ready) and not os.read(0, 1024)

    def grant_grace(self, _: int, __: FrameType | None) -> None:
        """Handle SIGTERM."""
        self.deadline = time.monotonic() + GRACE
        self.stop.set()


def follow(
    open_store: Callable[[threading.Event], Store], run_id: int, log_dir: Path, log_line: LogLine
) -> None:
    """Draw a run until its trainer has gone or the run has ended, and every stored epoch is drawn.

    An error of the store or the disk is logged once and retried; if it outlasts the trainer, it is raised as
    MirrorError. Raises StoreError if the store cannot be opened.
    """
    os.nice(NICENESS)
    trainer = Trainer()
    signal.signal(signal.SIGTERM, trainer.grant_grace)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # SIGINT stays blocked
    with open_store(trainer.stop) as store:
        run = store.run(run_id)
        with RunLogs(log_dir, run, log_line, timeout=LOCK_PATIENCE) as logs:
            said = last = False
            while True:
                try:
                    last = last or store.run(run_id).status != "running"
                    logs.write(store)
                except NotFoundError:  # the run was deleted
                    return
                except (StoreError, OSError) as error:
                    if last:
                        raise MirrorError(
                            f"the VisualDL logs of run {run_id} are not complete: {reason(error)}; the store "
                            f"has every epoch, `job mirror {run_id}` draws them again"
                        ) from error
                    if not said:
                        log_line(f"the VisualDL logs of run {run_id} lag behind: {reason(error)}")
                    said = True
                else:
                    if last:
                        return
                    said = False
                last = trainer.wait(POLL)


def reason(error: Exception) -> str:
    """Why the follower could not draw, in one line."""
    if isinstance(error, OSError):
        return f"{error.filename or 'a log'}: {error.strerror or error}"
    return str(error)
