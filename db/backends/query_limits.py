"""Waits for a query so that a signal or the time limit takes effect even if the database hangs."""

from __future__ import annotations

import queue
import resource
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from db.errors import QueryStoppedError

GRACE = 1.0
"""seconds that a cancelled query has to end"""
PART_ROWS = 1000
PART_BYTES = 2**20
Row = tuple[Any, ...]


class Watch:
    """Reads a query's rows in its own thread, within `timeout` seconds and `max_bytes` bytes.

    The thread checks `over`, and sets `cancel`, which stops the query in the database, and `lives`, the text
    of the error if that fails.
    """

    def __init__(self, timeout: float, max_bytes: int) -> None:
        self.timeout = timeout
        self.max_bytes = max_bytes
        self.over = threading.Event()
        self.cancel: Callable[[], object] = lambda: None
        self.lives = ""
        self._parts: queue.Queue[list[Row] | BaseException | None] = queue.Queue(maxsize=1)

    def rows(self, source: Generator[Row, None, None]) -> Generator[list[Row], None, None]:
        """The rows of `source` in parts. Only waiting for them uses up the time.

        Raises what `source` raises, QueryStoppedError, and KeyboardInterrupt with a
        message.
        """
        # A daemon: the process can end while the thread is in a call that nothing stops.
        thread = threading.Thread(target=self._read, args=(source,), daemon=True)
        thread.start()
        left = self.timeout
        try:
            while True:
                began = time.monotonic()
                part = self._parts.get(timeout=max(0.0, left))
                left -= time.monotonic() - began
                if part is None:
                    return
                if isinstance(part, BaseException):
                    raise part
                yield part
        except queue.Empty:
            said = f"the query was stopped after {self.timeout:g} s; --timeout allows more"
            raise QueryStoppedError(said + self._stop(thread)) from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted" + self._stop(thread)) from None
        except GeneratorExit:
            self._stop(thread)
            raise

    def _stop(self, thread: threading.Thread) -> str:
        """Stop the query and wait briefly; return text for the error if it does not end."""
        self.over.set()
        with suppress(queue.Empty):  # the thread may be blocked in put()
            self._parts.get_nowait()
        # In a thread: cancelling blocks if the server does not answer.
        threading.Thread(target=self.cancel, daemon=True).start()
        thread.join(GRACE)
        return self.lives if thread.is_alive() else ""

    def _read(self, source: Generator[Row, None, None]) -> None:
        part: list[Row] = []
        size = told = 0
        try:
            with closing(source):  # here, since its connection belongs to this thread
                for row in source:
                    part.append(tuple(plain(value) for value in row))
                    size += sys.getsizeof(row) + sum(map(memory, row))
                    if size > self.max_bytes:
                        raise MemoryError  # noqa: TRY301
                    if len(part) == PART_ROWS or size - told > PART_BYTES:
                        self._parts.put(part)
                        part, told = [], size
                    if self.over.is_set():
                        return
            self._parts.put(part)
            self._parts.put(None)
        except BaseException as error:
            self._parts.put(error)


@contextmanager
def memory_limit(more: int | None) -> Iterator[None]:
    """Within it, `more` bytes of memory are left to this process, then MemoryError is raised. Linux only."""
    statm = Path("/proc/self/statm")
    if more is None or not statm.exists():
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(statm.read_text().split()[5]) * resource.getpagesize() + more
    lowest = min(each for each in (before, hard, wanted) if each != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def memory(value: Any) -> int:
    """Bytes that a value takes in memory, approximately."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return sys.getsizeof(value) + (sum(map(memory, value)) if isinstance(value, list) else 0)


def plain(value: Any) -> Any:
    """A value in a form that both databases share.

    Exact decimals are numbers, or text if beyond 1e308; bytes are hex text.
    """
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        if value.is_finite() and value.adjusted() > sys.float_info.max_10_exp:
            return f"{value:f}"  # no double, and too long for Python's own integers to be printed
        whole = value.is_finite() and value == value.to_integral_value()
        return int(value) if whole else float(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value
