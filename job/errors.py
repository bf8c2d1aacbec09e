"""The errors of the job itself; those of the store are in `db.errors`."""

from db.errors import LedgerError


class DataError(LedgerError):
    """The data file cannot be trained on. The message names the file and, where there is one, the place."""


class MirrorError(LedgerError):
    """The VisualDL logs cannot be drawn, or cannot be shown. The store is not concerned."""
