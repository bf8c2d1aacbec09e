"""The trainer's side of the follower: start the process, signal the end of the training, wait for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

CATCH_UP = 30.0
"""seconds that a finished trainer waits for the logs, at most"""
FAREWELL = 0.5
"""the same for a trainer whose database failed, or that received a second stop signal"""


class MirrorProcess:
    """A follower of one run. Raises OSError if the process cannot be started."""

    def __init__(self, run_id: int, database_url: str, log_dir: Path) -> None:
        # The follower inherits the mask: it unblocks SIGTERM when ready, but never SIGINT, which is for us.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "job", "mirror", str(run_id), "--follow", "--log-dir", str(log_dir)],
                stdin=subprocess.PIPE,  # closes when we finish or die
                stdout=subprocess.DEVNULL,
                # Not an argument: it may hold a password.
                env=os.environ | {"JOB_DATABASE_URL": database_url},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def training_is_over(self) -> None:
        """Signal the follower that no more epochs will come."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def finish(self, timeout: float = CATCH_UP) -> int | None:
        """Wait until the follower has caught up: its exit status, or None after `timeout` seconds.

        A slower follower continues on its own.
        """
        self.training_is_over()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.returncode = 0  # it continues without us; subprocess must not warn
            return None
