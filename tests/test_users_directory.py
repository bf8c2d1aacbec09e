"""A user's own `db.py` or `job/` in the current directory affects no process that a command starts."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from db import scheduled_runs
from db.store import Store
from tests.conftest import Job, job_command
from tests.visualdl_logs import log_of

pytestmark = pytest.mark.process

THEIRS = "import sys\nprint('a module of the user was imported', file=sys.stderr)\nraise SystemExit(77)\n"


@pytest.fixture(autouse=True)
def _modules_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("db.py", "migrations.py", "numpy.py", "sitecustomize.py", "job/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(THEIRS)
    monkeypatch.delenv("JOB_NO_MIRROR")


def test_a_training_has_its_mirror(job: Job, sqlite_url: str) -> None:
    done = job("train", "--epochs", 20, "--database-url", sqlite_url, "--log-dir", "logs")
    assert done.returncode == 0, done.stderr
    assert "mirror" not in done.stderr
    for model in ("paddle", "python"):
        assert log_of(Path("logs"), 1, model).exists()


def test_a_sweep_has_its_workers(job: Job, sqlite_url: str) -> None:
    done = job(
        *("sweep", "--seeds", "0:2", "--epochs", 20, "--workers", 1, "--name", "s"),
        *("--database-url", sqlite_url),
    )
    assert done.returncode == 0, done.stderr
    assert "the user" not in done.stderr
    assert job("query", "sweep", "--name", "s", "--database-url", sqlite_url).returncode == 0


def test_a_schedule_has_its_nights(sqlite_url: str) -> None:
    Store(sqlite_url, create=True).close()

    def ended() -> bool:
        with Store(sqlite_url) as store:
            return any(
                scheduled_run.outcome not in ("due", "running")
                for scheduled_run in scheduled_runs.newest(store)
            )

    err = until(ended, "nightly", "--run-now", "--epochs", 20, "--database-url", sqlite_url)
    with Store(sqlite_url) as store:
        assert "completed" in [scheduled_run.outcome for scheduled_run in scheduled_runs.newest(store)], err


def test_a_dashboard_has_its_server(sqlite_url: str, tmp_path: Path) -> None:
    Store(sqlite_url, create=True).close()
    said = tmp_path / "stderr"
    until(
        lambda: "the dashboard is at" in said.read_text() or "again" in said.read_text(),
        *("dashboard", "--port", 0, "--log-dir", "logs", "--database-url", sqlite_url),
    )
    assert "again" not in said.read_text()


def until(seen: Callable[[], bool], *arguments: object) -> str:
    """Run a command until something is seen, and end it; what it wrote on stderr, which also is in a file."""
    with Path("stderr").open("w+") as stderr:
        process = subprocess.Popen(job_command(*arguments), stderr=stderr)
        try:
            deadline = time.monotonic() + 100
            while not seen() and time.monotonic() < deadline:
                assert process.poll() is None, Path("stderr").read_text()
                time.sleep(0.2)
        finally:
            process.terminate()
            status = process.wait(60)
    assert status == 128 + signal.SIGTERM
    return Path("stderr").read_text()
