"""Repairs a log directory: draws every run of the store, cuts or sets aside what would stop a server."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from db.errors import LedgerError
from db.schema import RunRow
from db.store import Store
from job.errors import MirrorError
from job.mirror import records
from job.mirror.deleted import remove_deleted
from job.mirror.logs import BusyError, LogLine, OnProgress, RunLogs, lock_run, rename_aside
from job.mirror.records import FILE_NAME, MARK


def make_log_dir(log_dir: Path) -> None:
    """Make the log directory if it is missing. Raises MirrorError if it cannot be made."""
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MirrorError(f"the log directory {log_dir} cannot be made: {error.strerror or error}") from None


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


def repair_logs(store: Store | None, log_dir: Path, log_line: LogLine) -> None:
    """Check every log: draw missing epochs, cut torn ends, set aside what is no log; log what was done.

    The logs of deleted runs are removed. Runs that another process draws are skipped. Without a store logs
    are only cut and set aside; in a read-only directory nothing is changed.
    """
    make_log_dir(log_dir)
    if not os.access(log_dir, os.W_OK | os.X_OK):
        log_line(f"the logs in {log_dir} are read only: mending them is left to `job mirror`")
        for path, whole in broken(log_dir):
            log_line(
                f"{path} is {'torn' if whole else 'no VisualDL log'}; the part that can be read is shown"
            )
        return
    if store:
        remove_deleted(store, log_dir, log_line)
    for run in store.runs() if store else ():
        try:
            with RunLogs(log_dir, run, log_line) as logs:
                logs.write(store)  # type: ignore[arg-type]
        except BusyError:
            continue
        except (LedgerError, OSError) as error:
            log_line(f"the logs of run {run.id} are shown as they are: {error}")
    for path, whole in broken(log_dir):
        with suppress(BusyError):
            log_line(repair(path, whole, log_dir))


def broken(log_dir: Path) -> list[tuple[Path, int]]:
    """The files that VisualDL takes for logs and cannot read to their end, and how many bytes it can read."""
    found = []
    for path in log_files(log_dir):
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


def log_files(log_dir: Path) -> list[Path]:
    """Every file under a directory that VisualDL takes for a log."""
    return sorted(
        Path(root) / name
        for root, _, names in os.walk(log_dir, followlinks=True)
        for name in names
        if MARK in name
    )


def about_epochs(log_dir: Path) -> list[int]:
    """About how many epochs each log has, by its size."""
    found = []
    for path in log_files(log_dir):
        if not path.is_file():
            continue
        with suppress(OSError), path.open("rb") as file:
            found.append(records.about_epochs(file.read(1 << 16), path.stat().st_size))
    return found
