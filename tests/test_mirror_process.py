"""What the trainer notices of its mirror, and logs about it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from job.cli.options import Mirroring
from job.cli.train import mirror_beside
from job.mirror.process import MirrorProcess


@contextmanager
def pretend(command: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[MirrorProcess]:
    """A mirror that runs another command."""
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen(command, **options))
    mirror = MirrorProcess(1, "sqlite:///none.db", Path("logs"))
    with mirror.process:
        yield mirror


@pytest.mark.process
def test_a_mirror_that_takes_too_long_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend(["sleep", "60"], monkeypatch) as mirror:
        assert mirror.finish(timeout=0.1) is None
        os.kill(mirror.process.pid, signal.SIGKILL)  # ours
        _, status = os.waitpid(mirror.process.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.process
def test_a_mirror_ends_when_its_input_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend(["sh", "-c", "cat; exit 3"], monkeypatch) as mirror:
        assert mirror.finish() == 3


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, ""),
        (
            None,
            "job: the VisualDL logs of run 7 are not complete yet; the mirror continues\n",
        ),
        (3, "job: the mirror ended early (status 3); `job mirror 7` draws the run again\n"),
    ],
)
def test_the_trainer_says_what_became_of_its_mirror(
    status: int | None, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[Any] = []
    over: list[int] = []

    def begin(*arguments: Any) -> Any:
        begun.append(arguments)
        return SimpleNamespace(training_is_over=lambda: over.append(1), finish=lambda *_: status)

    monkeypatch.setattr("job.cli.train.MirrorProcess", begin)
    with mirror_beside(7, "sqlite:///a.db", Mirroring(Path("logs"))) as training_is_over:
        training_is_over()
    assert begun == [(7, "sqlite:///a.db", Path("logs"))]
    assert over == [1]
    assert capsys.readouterr().err == expected


def test_a_mirror_that_cannot_be_started_does_not_stop_the_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("too many processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with mirror_beside(7, "sqlite:///a.db", Mirroring(Path("logs"))) as training_is_over:
        training_is_over()
    assert "training continues without it: too many processes" in capsys.readouterr().err
