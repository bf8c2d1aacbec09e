"""The log files: one of a fixed name for each model of a run, and one writer for each run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from db.history import History
from db.schema import RunRow
from db.store import Store
from job.errors import MirrorError
from job.mirror import records
from job.mirror.files import FILE_NAME, Identity, LogLine, OnProgress, identity

NEW_NAME = "new.log"
"""a log that is being redrawn, under a name that VisualDL ignores"""
STORE_NAME = "store.id"
"""in a run's directory: the id of the store that its logs were drawn from"""
LOCKS = ".locks"
CHUNK = 1_000
"""epochs that are read and written at a time"""


class ModelLog:
    """The log of one model of one run. Only the holder of the run's lock writes to it.

    A file only grows, or its torn end is cut, which a server that has it open tolerates. A redrawn log is a
    new file that replaces the old one once it is complete; a server recognises it by its inode.
    """

    def __init__(self, directory: Path, head: bytes, weights: Sequence[int], *, gaps: bool = False) -> None:
        self.path = directory / FILE_NAME
        self.head = head
        self.weights = weights
        """positions of the parameters whose histogram is drawn"""
        self.gaps = gaps
        """whether epochs may be missing, as in downsampled runs"""
        self.epochs = 0
        self._target = self.path
        self._size = 0
        self._identity: Identity | None = None

    def open(self, stored: int, anew: bool = False) -> str | None:
        """Continue the file, or begin a new one; return what was repaired, if anything was.

        `stored` is how many epochs the store has; a file with more of them belongs to another run. Raises
        OSError if the file cannot be read or written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            self._begin()
            return None
        found = records.read(content, self.head, gaps=self.gaps)
        if anew or found is None or found[0] > stored:
            self._begin()
            return None if anew else f"{self.path} was not a log of this run as it is; written again"
        self.path.with_name(NEW_NAME).unlink(missing_ok=True)
        self.epochs, self._size = found
        self._target, self._identity = self.path, identity(self.path)
        if len(content) == self._size:
            return None
        os.truncate(self.path, self._size)
        return f"{self.path} had a torn end; cut"

    def intact(self) -> bool:
        """Whether the file is still the one that was opened, with the size that we left."""
        with suppress(FileNotFoundError):
            return identity(self._target) == self._identity and self._target.stat().st_size == self._size
        return False

    def append(self, history: History) -> None:
        """Write the records of consecutive epochs, all or none. Raises OSError."""
        self._write(records.epoch_records(history, self.weights))
        self.epochs = int(history.epoch[-1]) + 1

    def publish(self) -> None:
        """Replace the old log with the redrawn one."""
        if self._target != self.path:
            self._target.replace(self.path)
            self._target = self.path

    def _begin(self) -> None:
        self._target = self.path.with_name(NEW_NAME)
        self._target.write_bytes(b"")
        self._size, self.epochs, self._identity = 0, 0, identity(self._target)
        self._write(self.head)

    def _write(self, content: bytes) -> None:
        try:
            with self._target.open("ab", buffering=0) as file:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
        except OSError:
            os.truncate(self._target, self._size)  # a full disk stores a part
            raise
        self._size += len(content)


class RunLogs:
    """The logs of one run, under the run's lock while open. Use it as a context manager.

    Raises MirrorError if another process draws the run, or if the directory cannot be written.
    """

    def __init__(self, log_dir: Path, run: RunRow, log_line: LogLine, timeout: float = 0.0) -> None:
        self.directory = log_dir / str(run.id)
        self.run = run
        self.downsampled = not run.whole
        self.log_line = log_line
        self.logs: dict[str, ModelLog] = {}
        self._lock = lock_run(log_dir, run.id, timeout)

    def __enter__(self) -> RunLogs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._lock.release()

    def write(self, store: Store, *, anew: bool = False, on_progress: OnProgress = lambda *_: None) -> None:
        """Draw every model's stored epochs; repair what is missing, torn, foreign or duplicated.

        Raises OSError if a file cannot be written, StoreError if the store cannot be read. In both cases
        drawn epochs stay, and a later call continues from there.
        """
        for model, stored in store.progress(self.run.id).items():
            log = self._opened(store, model, stored, anew)
            while log.epochs < stored:
                until = stored if self.downsampled else log.epochs + CHUNK
                history = store.history(self.run.id, model, log.epochs, until - 1)
                if not len(history):
                    break
                log.append(history)
                on_progress(model, log.epochs, stored)
            log.publish()

    def _opened(self, store: Store, model: str, stored: int, anew: bool) -> ModelLog:
        if log := self.logs.get(model):
            if log.intact():
                return log
            self.log_line(f"{log.path} was changed or removed by another process; repaired")
        head = records.head(self.run, model)
        weights = records.weights(store.run(self.run.id).parameter_names)
        log = ModelLog(self.directory / model, head, weights, gaps=self.downsampled)
        why = log.open(stored, anew)
        (self.directory / STORE_NAME).write_text(store.id, encoding="utf-8")
        if why:
            self.log_line(why)
        self.logs[model] = log
        return log


def lock_run(log_dir: Path, run_id: int, timeout: float) -> FileLock:
    """Acquire the lock of a run's directory. The lock file is outside, so that it outlives the directory.

    Raises BusyError if another process holds it for longer than `timeout` seconds, and MirrorError if the log
    directory cannot be made or written.
    """
    try:
        (log_dir / LOCKS).mkdir(parents=True, exist_ok=True)
        lock = FileLock(log_dir / LOCKS / f"{run_id}.lock", timeout=timeout)
        lock.acquire()
    except Timeout:
        raise BusyError(
            f"run {run_id} is being drawn by another process, the mirror of its training for one, which "
            "mends its logs itself"
        ) from None
    except OSError as error:
        raise MirrorError(f"the logs in {log_dir} cannot be written: {error.strerror or error}") from None
    return lock


class BusyError(MirrorError):
    """Another process draws the run."""
