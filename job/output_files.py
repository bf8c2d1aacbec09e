"""Writes result files atomically, and escapes spreadsheet formulas in CSV."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from db.errors import LedgerError


class OutputError(LedgerError):
    """A result file cannot be written."""


FORMULA = (*"=+-@", *"\uff1d\uff0b\uff0d\uff20", *"\t\r\n")
"""how a formula begins, with full-width signs too, which some spreadsheets read as the others"""


def harmless(text: str) -> str:
    """The text as a CSV cell; text that a spreadsheet would read as a formula gets a leading quote.

    A sign alone is no formula. As OWASP advises: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{text}" if len(text) > 1 and text.startswith(FORMULA) else text


def write(path: Path, content: bytes) -> None:
    """Write a file atomically, and make its directory. Raises OutputError; no partial file is left."""
    part = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            file.write(content)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # it has its name, or was not made
            part.unlink()
