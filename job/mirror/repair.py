"""Repairs a log directory: draws every run of the store, and removes the logs of deleted runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from db.errors import LedgerError
from db.schema import RunRow
from db.store import Store
from job.errors import MirrorError
from job.mirror.deleted import remove_deleted
from job.mirror.files import ALL, LogLine, OnProgress, Shown, drawn_runs, make_log_dir
from job.mirror.logs import BusyError, RunLogs

OnRun = Callable[[int, int], None]
"""called after each run with how many were checked, and how many there are"""


def rewrite(
    store: Store, run: RunRow, log_dir: Path, log_line: LogLine, on_progress: OnProgress, timeout: float
) -> None:
    """Redraw one run from the store. Raises MirrorError if another process draws it or the disk fails."""
    make_log_dir(log_dir)
    with RunLogs(log_dir, run, log_line, timeout) as logs:
        try:
            logs.write(store, anew=True, on_progress=on_progress)
        except OSError as error:
            raise MirrorError(f"{error.filename or log_dir}: {error.strerror or error}") from error


def repair_logs(
    store: Store, log_dir: Path, log_line: LogLine, shown: Shown = ALL, on_run: OnRun = lambda *_: None
) -> None:
    """Draw missing epochs of the shown logs and cut torn ends, the newest run first; log what was done.

    The logs of deleted runs are removed. Runs that another process draws are skipped. In a read-only
    directory nothing is changed.
    """
    make_log_dir(log_dir)
    if not os.access(log_dir, os.W_OK | os.X_OK):
        log_line(f"the logs in {log_dir} are read only: mending them is left to `job mirror`")
        return
    remove_deleted(store, log_dir, log_line)
    runs = {run.id: run for run in store.runs()}
    numbers = [run for run in shown.of({*runs, *drawn_runs(log_dir)}) if run in runs]
    for done, number in enumerate(reversed(numbers), 1):
        try:
            with RunLogs(log_dir, runs[number], log_line) as logs:
                logs.write(store)
        except BusyError:
            pass
        except (LedgerError, OSError) as error:
            log_line(f"the logs of run {number} are shown as they are: {error}")
        on_run(done, len(numbers))
