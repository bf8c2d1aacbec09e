"""Whatever exchange with the database fails, or is the process's last: the store stays whole and goes on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from db.store import Store
from job import models, training
from job.cli import run
from job.dataset import load
from job.models.python import PythonModel
from job.run import first_states
from tests.faults import at_every_point, busy, full, killed, lost, unanswered
from tests.samples import write_csv

EPOCHS = 7
pytestmark = pytest.mark.slow


@pytest.fixture
def train(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`job train` in blocks of three epochs, in this process, Paddle's model replaced by NumPy's."""
    monkeypatch.setitem(sys.modules, "job.models.paddle", SimpleNamespace(PaddleModel=PythonModel))  # type: ignore[arg-type]
    monkeypatch.setattr(training, "BLOCK_EPOCHS", 3)
    monkeypatch.setattr(training, "FIRST_BLOCK", 3)
    monkeypatch.setattr("tenacity.wait_random_exponential", lambda **_: lambda _: 0.0)
    data = write_csv(tmp_path / "made.csv")
    models.load_models()
    words = ["train", "--data", str(data), "--epochs", str(EPOCHS), "--database-url", database_url]
    return lambda *more: run([*words, *more])


def assert_whole(url: str, data: Path, *statuses: str) -> None:
    """The newest run has no hole, nor a bit that an undisturbed one has not, and one of these statuses."""
    dataset = load(data)
    start = first_states(dataset, 0)
    expected = PythonModel(dataset, 0.01, start["python"]).advance(EPOCHS)
    with Store(url) as store:
        for newest in store.runs()[:1]:
            assert newest.status in statuses
            trained = store.progress(newest.id)
            for model, epochs in trained.items():
                assert store.history(newest.id, model).same_bits(expected[:epochs])
            if newest.status == "completed":
                assert trained == dict.fromkeys(start, EPOCHS)


FAULTS = {
    "sqlite": {"killed": killed, "busy": busy, "full": full},
    "postgresql": {"killed": killed, "lost": lost, "unanswered": unanswered},
}


@pytest.mark.parametrize("fault", ["killed", "busy", "full", "lost", "unanswered"])
def test_a_training_that_meets_a_fault_at_any_exchange_ends_with_the_same_bits(
    fault: str, backend: str, train: Callable[..., int], database_url: str, tmp_path: Path
) -> None:
    if fault not in FAULTS[backend]:
        pytest.skip("a fault of the other database")
    met = 0
    for status in at_every_point(FAULTS[backend][fault], train):
        met += 1
        print(met, status)
        if fault in ("killed", "full"):
            assert status in ((-signal.SIGKILL,) if fault == "killed" else (1, 2))
            assert_whole(database_url, tmp_path / "made.csv", "running", "completed", "failed", "interrupted")
            assert train("--resume") == 0
        else:
            assert status == 0
        assert_whole(database_url, tmp_path / "made.csv", "completed")
    assert met > 20
