"""The files of a log directory, and what of them the dashboard shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from job.errors import MirrorError

MARK = "vdlrecords"
"""VisualDL reads the files that have this in their name, and only the last by name in a directory"""
FILE_NAME = f"{MARK}.main.log"

CHART = 100_000
"""points that all curves of a chart have together, by default: what a browser draws in seconds"""
FEWEST = 1_000
"""points of a curve, however many there are; VisualDL's default"""

Identity = tuple[int, int]
"""device and inode, which tell a file from another of the same name"""
LogLine = Callable[[str], None]
OnProgress = Callable[[str, int, int], None]
"""called after each chunk of epochs with a model, its epochs drawn, its epochs stored"""


@dataclass(frozen=True, slots=True)
class Shown:
    """The runs that a dashboard shows: those named, else the newest ones, else all."""

    newest: int = 0
    """how many of the newest runs; 0 for all"""
    named: tuple[int, ...] = ()

    def __str__(self) -> str:
        if self.named:
            return f"run {', '.join(map(str, self.named))}"
        return f"the newest {self.newest} runs" if self.newest else "all runs"

    def of(self, runs: Iterable[int]) -> list[int]:
        """Which of these runs are shown, in order."""
        ordered = sorted(set(runs))
        if self.named:
            return [run for run in ordered if run in self.named]
        return ordered[-self.newest :]

    def directories(self, log_dir: Path) -> list[Path]:
        """The directories whose logs are shown. If all are, that is the log directory with all it holds."""
        if not (self.newest or self.named):
            return [log_dir]
        return [log_dir / str(run) for run in self.of(drawn_runs(log_dir))]


ALL = Shown()


def make_log_dir(log_dir: Path) -> None:
    """Make the log directory if it is missing. Raises MirrorError if it cannot be made."""
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MirrorError(f"the log directory {log_dir} cannot be made: {error.strerror or error}") from None


def drawn_runs(log_dir: Path) -> list[int]:
    """The numbers of the runs that have a directory of logs, in order."""
    paths = log_dir.iterdir() if log_dir.is_dir() else ()
    return sorted(int(path.name) for path in paths if path.name.isdecimal())


def log_files(directories: Iterable[Path]) -> list[Path]:
    """Every file under these directories that VisualDL takes for a log."""
    return sorted(
        Path(root) / name
        for directory in directories
        for root, _, names in os.walk(directory, followlinks=True)
        for name in names
        if MARK in name
    )


def identity(path: Path) -> Identity:
    """The identity of a file. Raises OSError."""
    state = path.stat()
    return state.st_dev, state.st_ino
