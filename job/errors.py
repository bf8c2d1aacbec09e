"""The errors of the job itself; those of the store are in `db.errors`."""

from db.errors import LedgerError


class DataError(LedgerError):
    """The data file cannot be trained on. The message names the file and, where there is one, the place."""


class RepetitionError(LedgerError):
    """The run that was asked for has been trained, with a bad end, and would come to the same end again."""

    exit_status = 1


class MirrorError(LedgerError):
    """The VisualDL logs cannot be drawn, or cannot be shown. The store is not concerned."""


class ScheduleError(LedgerError):
    """A cron expression or a time zone that cannot be read."""


class NotifyError(LedgerError):
    """An address that notifications cannot be sent to. The message never holds the address itself."""


class SweepError(LedgerError):
    """A sweep that cannot be run as it was asked for."""


class SchedulerLostError(SweepError):
    """The scheduler went away in the middle of a sweep."""

    exit_status = 1


class ModelError(LedgerError):
    """A model's framework is not installed as it should be."""
