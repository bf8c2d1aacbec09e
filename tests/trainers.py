"""Trainers for tests to start and then disturb."""

from __future__ import annotations

import subprocess
import time

from db.store import Store
from tests.conftest import job_command


def start_and_wait(
    url: str, epochs: int, *more: str, command: tuple[str, ...] = ("train",)
) -> subprocess.Popen[str]:
    """A trainer in its own process that has stored some epochs of a new run."""
    with Store(url, create=True) as store:
        before = len(store.runs())
    trainer = subprocess.Popen(
        job_command(*command, "--epochs", epochs, "--database-url", url, *more),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with Store(url, create=True) as store:
        deadline = time.monotonic() + 60
        while not (len(store.runs()) > before and store.progress(store.run().id)):
            assert trainer.poll() is None, trainer.stderr and trainer.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return trainer
