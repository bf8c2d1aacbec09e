"""Removes the logs of runs that `job prune` deleted, and those of nobody else.

A log directory may as well be another store's, whose runs have the same numbers. What tells is the head of
each log: its run's number, and the moment at which the run was created.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from db.errors import LedgerError, NotFoundError
from db.store import Store
from job.mirror import records
from job.mirror.logs import NEW_NAME, BusyError, Say, lock_run
from job.mirror.records import FILE_NAME

HEAD = 1 << 16
"""bytes of a log in which its head surely ends"""


def remove_gone(store: Store, log_dir: Path, say: Say) -> None:
    """Remove the logs of the runs that the store has no more, under their locks; says of which.

    Nothing is removed where no log of a present run shows that the logs are of this store, or one shows that
    they are not. What is kept or cannot be removed is no error. Raises StoreError where the store cannot be
    read.
    """
    created = {run.id: records.creation(run) for run in store.runs()}
    if not log_dir.is_dir() or not is_of_store(log_dir, created):
        return
    removed = []
    for number in sorted(numbers(log_dir) - created.keys()):
        try:
            if is_ours(log_dir / str(number), created) and remove(store, log_dir, number):
                removed.append(number)
        except BusyError:
            continue
        except (LedgerError, OSError) as error:
            say(f"the logs of run {number}, which the store has no more, cannot be removed: {error}")
    if removed:
        which = ", ".join(str(number) for number in removed)
        say(f"removed the logs of runs that the store has no more: {which}")


def numbers(log_dir: Path) -> set[int]:
    """The numbers of the runs that there are directories for, as the mirror writes them."""
    names = (path.name for path in log_dir.iterdir() if path.is_dir() and not path.is_symlink())
    return {int(name) for name in names if name.isascii() and name.isdecimal() and name == str(int(name))}


def is_of_store(log_dir: Path, created: dict[int, int]) -> bool:
    """Whether every log found of a run that the store has is that run's, and there is one at all.

    `created` has the moment of each run in milliseconds.
    """
    found = {
        moment == created[number]
        for number in created
        for path in log_dir.glob(f"{number}/*/{FILE_NAME}")
        if (moment := begun(path)) is not None
    }
    return found == {True}


def begun(path: Path) -> int | None:
    """When the run of a log was created, in milliseconds; None where it is no log of its place."""
    try:
        if not path.is_file():  # to open a pipe would wait for a writer, for good
            return None
        with path.open("rb") as file:
            name, moment = records.owner(file.read(HEAD)) or ("", 0)
    except OSError:
        return None
    return moment if name == f"{path.parent.parent.name}/{path.parent.name}" else None


def is_ours(directory: Path, created: dict[int, int]) -> bool:
    """Whether a directory holds the logs of a run that was this store's, and nothing else.

    Numbers and moments rise together: what does not fit in between the runs around it, or comes after all of
    them, is another store's. Raises OSError where the directory cannot be read.
    """
    number = int(directory.name)
    before = max((created[run] for run in created if run < number), default=0)
    after = min((created[run] for run in created if run > number), default=0)
    paths = [path for model in directory.iterdir() for path in contents(model)]
    return bool(paths) and all(
        path.name in (FILE_NAME, NEW_NAME)
        and not path.is_symlink()
        and (moment := begun(path)) is not None
        and before <= moment <= after
        for path in paths
    )


def contents(path: Path) -> list[Path]:
    """What is in a model's directory; what is no directory stands for itself."""
    return list(path.iterdir()) if path.is_dir() and not path.is_symlink() else [path]


def remove(store: Store, log_dir: Path, number: int) -> bool:
    """Remove a run's logs under its lock; False where the store has come to have the run meanwhile.

    Raises BusyError where they are being drawn, and OSError where they cannot be removed, or something else
    has come to stand among them.
    """
    lock = lock_run(log_dir, number, 0.0)
    try:
        with suppress(NotFoundError):
            store.run(number)
            return False
        for model in list((log_dir / str(number)).iterdir()):
            for name in (FILE_NAME, NEW_NAME):
                (model / name).unlink(missing_ok=True)
            model.rmdir()
        (log_dir / str(number)).rmdir()
    finally:
        lock.release()
    return True
