"""Removes the logs of runs that `job prune` deleted, and no others.

A log directory may hold the logs of several stores. A file in each run's directory names the store that the
logs were drawn from.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from db.errors import LedgerError, NotFoundError
from db.store import Store
from job.mirror.files import FILE_NAME, LogLine, drawn_runs
from job.mirror.logs import NEW_NAME, STORE_NAME, BusyError, lock_run


def remove_deleted(store: Store, log_dir: Path, log_line: LogLine) -> None:
    """Remove the logs of runs that were deleted from the store, under their locks; log the removed runs.

    Logs of runs after the store's newest stay: if an older copy of the store was restored, they are all that
    is left of these runs. Failures to remove logs are only logged. Raises StoreError if the store cannot be
    read.
    """
    runs = {run.id for run in store.runs()}
    newest = max(runs, default=0)
    removed = []
    for number in [each for each in drawn_runs(log_dir) if each < newest and each not in runs]:
        try:
            if is_ours(log_dir / str(number), store.id) and remove(store, log_dir, number):
                removed.append(str(number))
        except BusyError:
            continue
        except (LedgerError, OSError) as error:
            log_line(f"the logs of run {number}, which the store has no more, cannot be removed: {error}")
    if removed:
        log_line(f"removed the logs of runs that the store has no more: {', '.join(removed)}")


def is_ours(directory: Path, store_id: str) -> bool:
    """Whether a directory names this store and holds only logs. Raises OSError if it cannot be read."""
    mark = directory / STORE_NAME
    if directory.is_symlink() or not mark.is_file() or mark.read_text(encoding="utf-8") != store_id:
        return False
    models = [path for path in directory.iterdir() if path != mark]
    return all(
        path.name in (FILE_NAME, NEW_NAME) and path.is_file() and not path.is_symlink()
        for model in models
        for path in (model.iterdir() if model.is_dir() and not model.is_symlink() else [model])
    )


def remove(store: Store, log_dir: Path, number: int) -> bool:
    """Remove a run's logs under its lock; False if the store has the run by now.

    Raises BusyError if another process is drawing them, and OSError if they cannot be removed or another file
    is among them.
    """
    lock = lock_run(log_dir, number, 0.0)
    try:
        with suppress(NotFoundError):
            store.run(number)
            return False
        directory = log_dir / str(number)
        for model in [path for path in directory.iterdir() if path.name != STORE_NAME]:
            for name in (FILE_NAME, NEW_NAME):
                (model / name).unlink(missing_ok=True)
            model.rmdir()
        (directory / STORE_NAME).unlink()
        directory.rmdir()
    finally:
        lock.release()
    return True
