"""The errors of the job itself; those of the store are in `db.errors`."""

from db.errors import LedgerError


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


class ModelError(LedgerError):
    """A model's framework cannot be loaded."""
