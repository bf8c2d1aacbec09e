"""The trainer's side of the follower: start the process, signal the end of the training, wait for it.

The follower writes its progress to standard output: lines of a model, its epochs drawn and stored.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from job.mirror.files import OnProgress

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
                stdout=subprocess.PIPE,
                # Not an argument: it may hold a password.
                env=os.environ | {"JOB_DATABASE_URL": database_url},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def training_is_over(self) -> None:
        """Signal the follower that no more epochs will come."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def finish(self, on_progress: OnProgress, timeout: float = CATCH_UP) -> int | None:
        """Wait until the follower has caught up: its exit status, or None after `timeout` seconds.

        A slower follower continues on its own.
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
            text = read_progress(text + more, on_progress)
        self.process.returncode = 0  # it continues without us; subprocess must not warn
        return None


def write_progress(model: str, drawn: int, stored: int) -> None:
    """Write a line to standard output; do nothing if the trainer has gone."""
    with suppress(OSError):
        os.write(1, f"{model} {drawn} {stored}\n".encode())


def read_progress(text: bytes, on_progress: OnProgress) -> bytes:
    """Call `on_progress` for every whole line of `text`; return the rest."""
    *lines, rest = text.split(b"\n")
    for line in lines:
        model, drawn, stored = line.decode().split(" ")
        on_progress(model, int(drawn), int(stored))
    return rest
