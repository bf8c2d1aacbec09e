"""Writes result files whole or not at all, and text into them that is no formula."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from db.errors import LedgerError


class OutputError(LedgerError):
    """A result file cannot be written where it was asked for."""


def harmless(text: str) -> str:
    """The text as a cell of CSV, with a quote before what a spreadsheet would take for a formula.

    As OWASP advises: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, making its directory; whoever looks sees the old file or the new one.

    Raises OutputError, naming the path, and leaves nothing half written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        part.chmod(0o666 & ~_umask())  # mkstemp's files are for their owner alone
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
