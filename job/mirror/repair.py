"""Repairs a log directory: draws every run of the store, cuts or sets aside what would stop a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from db.errors import LedgerError
from db.schema import RunRow
from db.store import Store
from job.errors import MirrorError
from job.mirror import records
from job.mirror.deleted import remove_deleted
from job.mirror.files import ALL, FILE_NAME, LogLine, Shown, drawn_runs, log_files, make_log_dir
from job.mirror.logs import BusyError, OnProgress, RunLogs, lock_run, rename_aside

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
    store: Store | None,
    log_dir: Path,
    log_line: LogLine,
    shown: Shown = ALL,
    on_run: OnRun = lambda *_: None,
) -> None:
    """Check the shown logs: draw missing epochs, cut torn ends, set aside what is no log; log what was done.

    The logs of deleted runs are removed. Runs that another process draws are skipped. Without a store logs
    are only cut and set aside; in a read-only directory nothing is changed. The newest run comes first.
    """
    make_log_dir(log_dir)
    if not os.access(log_dir, os.W_OK | os.X_OK):
        log_line(f"the logs in {log_dir} are read only: mending them is left to `job mirror`")
        for path, whole in broken(shown.directories(log_dir)):
            log_line(
                f"{path} is {'torn' if whole else 'no VisualDL log'}; the part that can be read is shown"
            )
        return
    if store:
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
    for path, whole in broken(shown.directories(log_dir)):
        with suppress(BusyError):
            log_line(repair(path, whole, log_dir))


def broken(directories: Iterable[Path]) -> list[tuple[Path, int]]:
    """The files that VisualDL takes for logs and cannot read to their end, and how many bytes it can read."""
    found = []
    for path in log_files(directories):
        if not path.is_file():  # opening a pipe would wait for a writer
            found.append((path, 0))
            continue
        try:
            content = path.read_bytes()
        except OSError:
            found.append((path, 0))
            continue
        whole = records.whole(content)
        if whole < len(content) or not content:
            found.append((path, whole))
    return found


def repair(path: Path, whole: int, log_dir: Path) -> str:
    """Cut or set aside a file that would stop the server; return what was done. Raises BusyError."""
    place = path.relative_to(log_dir).parts[0]
    lock = lock_run(log_dir, int(place), 0.0) if place.isdecimal() else None
    try:
        if whole and path.name == FILE_NAME:
            os.truncate(path, whole)
            return f"{path} had a torn end; cut"
        return f"a foreign log was set aside as {rename_aside(path)}"
    except OSError as error:
        return f"{path} cannot be read to its end, nor repaired: {error.strerror or error}"
    finally:
        if lock:
            lock.release()
