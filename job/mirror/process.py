"""The follower as its trainer sees it: a process to start, to tell that the training is over, to wait for."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from job.mirror.protocol import Progress, read_progress

CATCH_UP = 30.0
"""seconds that a finished trainer waits at most for the logs"""
FAREWELL = 0.5
"""seconds that one waits whose database failed, or that was told twice to stop"""


class MirrorProcess:
    """A follower of one run. Its standard input is the line between us: it ends with the trainer's life.

    Raises OSError where no process can be started.
    """

    def __init__(self, run_id: int, database_url: str, log_dir: Path) -> None:
        # The follower inherits the mask. Ctrl-C is meant for us, who end it; SIGTERM it hears once it can.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "job", "mirror", str(run_id), "--follow", "--log-dir", str(log_dir)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Not an argument: it may hold a password.
                env=os.environ | {"JOB_DATABASE_URL": database_url},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def training_is_over(self) -> None:
        """Tell the follower that nothing more comes."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def finish(self, report: Progress, timeout: float = CATCH_UP) -> int | None:
        """Wait for a follower that has caught up: its exit status, or None in vain.

        `report` is told of each model how many of its epochs are drawn. A follower that is not done in
        time is left to itself.
        """
        self.training_is_over()
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        text = b""
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            if not ready:
                break
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                return self.process.wait()
            text = read_progress(text + more, report)
        self.process.returncode = 0  # it goes on without us; subprocess need not warn of it
        return None
