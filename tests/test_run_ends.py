"""The bad ends of a run: a model that raises, one that diverges, a second Ctrl-C."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, SessionTransaction

from db.history import History, State
from db.store import Store
from job.cli import run
from job.data.dataset import Dataset
from job.models.base import LinearRegression
from tests.samples import history, write_csv

Output = pytest.CaptureFixture[str]
EPOCHS = 50


WHOLE = history(EPOCHS, 3)


class Troubled(LinearRegression):
    """A model that fails once it has trained five epochs."""

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        self.epoch = state.epoch

    def advance(self, epochs: int) -> History:
        if self.epoch >= 5:
            self.trouble()
        self.epoch += epochs
        return WHOLE[self.epoch - epochs : self.epoch]

    def trouble(self) -> None:
        raise ValueError("no more")


class Healthy(Troubled):
    def trouble(self) -> None:
        pass


class PressedTwice(Troubled):
    """Ctrl-C during an epoch, and again, because that takes long."""

    def trouble(self) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)


def train(url: str, model: type[Troubled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("job.training.load_models", lambda *_: {"paddle": model, "python": model})
    data = write_csv(tmp_path / "made.csv")
    return run(["train", "--data", str(data), "--epochs", str(EPOCHS), "--database-url", url])


def ended(url: str) -> tuple[str, str | None]:
    """Status and reason of the run, whose epochs are those trained before the failure."""
    with Store(url) as store:
        found = store.run()
        assert found.finished_at is not None
        assert found.owner is None
        for model in ("paddle", "python"):
            kept = store.history(found.id, model)
            assert 5 <= len(kept) < EPOCHS
            assert kept.same_bits(WHOLE[: len(kept)])
        return found.status, found.stop_reason


def test_a_model_that_raises_ends_the_run_as_failed_and_keeps_its_epochs(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert train(database_url, Troubled, tmp_path, monkeypatch) == 1
    said = capsys.readouterr()
    status, reason = ended(database_url)
    assert status == "failed"
    assert re.fullmatch(
        r"paddle at epoch 5: ValueError: no more \(test_run_ends.py, line \d+\)(; python at .*)?", str(reason)
    )
    assert f"run 1 failed: {reason}\n" in said.out
    assert "once the model works, go on with: job resume 1 --data " in said.err
    assert "Traceback" not in said.err


def test_a_failed_run_is_taken_up_once_its_model_is_mended(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    assert train(database_url, Troubled, tmp_path, monkeypatch) == 1
    monkeypatch.undo()
    monkeypatch.setenv("JOB_NO_MIRROR", "1")
    # The epochs before were not those of a regression, as the verdict `exact` finds.
    assert run(["resume", "1", "--data", str(tmp_path / "made.csv"), "--database-url", database_url]) == 1
    with Store(database_url) as store:
        assert store.run().status == "completed"
        assert store.progress(1) == {"paddle": EPOCHS, "python": EPOCHS}


def test_a_model_that_cannot_be_made_is_refused_before_a_run_starts(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    class Unmakeable(Troubled):
        def __init__(self, *_: object) -> None:
            self.trouble()

    assert train(sqlite_url, Unmakeable, tmp_path, monkeypatch) == 2
    assert (
        "job: error: the model paddle cannot begin: ValueError: no more (test_run" in capsys.readouterr().err
    )
    assert not list(tmp_path.glob("*.db"))


def test_a_second_ctrl_c_gives_up_the_block_and_says_how_to_go_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert train(database_url, PressedTwice, tmp_path, monkeypatch) == 130
    err = capsys.readouterr().err
    assert f"go on with: job resume 1 --data {tmp_path / 'made.csv'} --database-url " in err
    assert "Traceback" not in err
    assert ended(database_url) == ("interrupted", "stopped by SIGINT, twice")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_that_cuts_off_a_transaction_still_ends_the_run(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    commit, close, writes, cut = SessionTransaction.__exit__, Session.__exit__, 0, False

    def commits(transaction: SessionTransaction, *error: Any) -> None:
        nonlocal writes, cut
        writes += 1
        if writes == 4:  # a block: the run, its heartbeat and others were before
            cut = True
            raise KeyboardInterrupt
        commit(transaction, *error)

    def closes(session: Session, *error: Any) -> None:
        nonlocal cut
        if cut:
            cut = False
            raise KeyboardInterrupt  # the transaction stays open, and holds the write lock
        close(session, *error)

    monkeypatch.setattr(SessionTransaction, "__exit__", commits)
    monkeypatch.setattr(Session, "__exit__", closes)
    assert train(sqlite_url, Healthy, tmp_path, monkeypatch) == 130
    monkeypatch.undo()
    with Store(sqlite_url) as store:
        assert (store.run().status, store.run().stop_reason) == ("interrupted", "stopped by SIGINT, twice")


def test_a_ctrl_c_while_the_mirror_is_waited_for_comes_after_the_way_to_go_on(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    class PressedOnce(Troubled):
        def trouble(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def finish(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)

    monkeypatch.delenv("JOB_NO_MIRROR")
    monkeypatch.setattr("job.mirror.process.MirrorProcess.__init__", lambda *_: None)
    monkeypatch.setattr("job.mirror.process.MirrorProcess.training_is_over", lambda *_: None)
    monkeypatch.setattr("job.mirror.process.MirrorProcess.finish", finish)
    assert train(sqlite_url, PressedOnce, tmp_path, monkeypatch) == 130
    assert "go on with: job resume 1 " in capsys.readouterr().err
    with Store(sqlite_url) as store:
        assert (store.run().status, store.run().stop_reason) == ("interrupted", "stopped by SIGINT")
