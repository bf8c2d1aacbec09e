"""The errors of the job itself; those of the store are in `db.errors`."""

import traceback
from pathlib import Path

from db.errors import LedgerError

LONGEST = 500


class DataError(LedgerError):
    """The data file cannot be trained on. The message names the file and the place in it, if there is one."""


class RepetitionError(LedgerError):
    """A run of this specification has failed in this environment; another would fail in the same way."""

    exit_status = 1


class MirrorError(LedgerError):
    """The VisualDL logs cannot be drawn or served. The store is not affected."""


class ScheduleError(LedgerError):
    """A cron expression or a time zone is invalid."""


class NotifyError(LedgerError):
    """Notifications cannot be sent. The message never contains an address."""


class SweepError(LedgerError):
    """A sweep cannot run with its settings."""


class SchedulerLostError(SweepError):
    """The connection to the Dask scheduler was lost during a sweep."""

    exit_status = 1


class BisectError(LedgerError):
    """Two runs cannot be bisected."""


class UnexplainedError(BisectError):
    """What can be varied between two runs does not explain their difference."""

    exit_status = 1


class ModelError(LedgerError):
    """A model cannot be found, loaded or begun."""


def in_words(error: Exception) -> str:
    """What a log or a notification says of an error."""
    return str(error) if isinstance(error, LedgerError) else f"unexpected {type(error).__name__}: {error}"


def one_line(error: BaseException) -> str:
    """The type and text of an exception, printable and cut at LONGEST characters."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # its __str__ may fail, too
        text = type(error).__name__
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))[:LONGEST]


def in_a_line(error: BaseException) -> str:
    """A model's exception in one line, with the place in its own code."""
    text = one_line(error)
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename[:1] != "<"]
    own = [each for each in frames if "site-packages" not in each.filename] or frames
    return f"{text} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else text
