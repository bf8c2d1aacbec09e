"""A cell of a table: a number, a missing value, or text, which is told by its kind."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from job.data.reading import Reading

MISSING = frozenset(
    [
        *("", "na", "n/a", "n.a.", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "+nan"),
        *("null", "(null)", "#null!", "none", "nil", "missing", "?", "-", "--", "---", ".", "..", "...", "*"),
        *("\\n", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "#div/0!", "#value!", "#num!"),
    ]
)
"""what stands for a missing value, in lower case"""
DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ]\d{1,2}:\d{2}.*)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( \d{1,2}:\d{2}.*)?|\d{1,2}:\d{2}(:\d{2}.*)?"
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}"
    r"|\d{4}年\d{1,2}月(\d{1,2}日)?"
)
GROUPED = re.compile(r"[+-]?\d{1,3}(?P<by>[,.'_ \u00a0\u202f])\d{3}((?P=by)\d{3})*(?P<rest>[.,]\d+)?")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
ONE_GROUP = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
"""a number with a fraction, or one with a group of three digits"""
LONGEST = 40
"""characters of a cell that a message shows"""


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing value."""
    return cell.lower() in MISSING


def number(cell: str, decimal: str = ".", thousands: str | None = None) -> float | None:
    """The number in a cell, maybe infinite; None if it is none. Exactly rounded to a double.

    Python's own `float` also takes 1_000 and digits of other scripts.
    """
    if thousands and thousands in cell:
        if not grouping(thousands, decimal).fullmatch(cell):
            return None
        cell = cell.replace(thousands, "")
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    if "_" in cell or not cell.isascii():
        return None
    try:
        return float(cell)
    except ValueError:
        return None


@cache
def grouping(thousands: str, decimal: str) -> re.Pattern[str]:
    """A number whose digits before the decimal point are in groups of three."""
    by, point = re.escape(thousands), re.escape(decimal)
    return re.compile(rf"[+-]?\d{{1,3}}({by}\d{{3}})+({point}\d*)?([eE][+-]?\d+)?", re.ASCII)


def is_number(cell: str, decimal: str = ".", thousands: str | None = None) -> bool:
    """Whether a cell holds a number: neither missing nor text."""
    return not is_missing(cell) and number(cell, decimal, thousands) is not None


def told(cell: str) -> tuple[str, tuple[Reading, ...]]:
    """What a cell that is no number is, in words, and the options that might read it as one."""
    quoted = repr(cell[:LONGEST])
    if DATE.fullmatch(cell):
        return f"{quoted} is a date, not a number", ()
    if (found := GROUPED.fullmatch(cell)) and found["by"] != "_":
        by, rest = found["by"], found["rest"] or ""
        if rest[:1] != by:
            grouped = Reading(thousands=by, decimal="," if by == "." or rest[:1] == "," else None)
            either = (Reading(decimal=","),) if by == "," and not rest and cell.count(",") == 1 else ()
            return f"{quoted} is not a number as it stands", (grouped, *either)
    if DECIMAL_COMMA.fullmatch(cell):
        return f"{quoted} is not a number as it stands", (Reading(decimal=","),)
    for character in cell:
        if not character.isascii() and number(plain(cell)) is not None:
            return f"{quoted} has {described(character)}, so it is not a number", ()
    return f"{quoted} is not a number", ()


def described(character: str) -> str:
    """A character, its code and its name."""
    name = unicodedata.name(character, "without a name")
    return f"the character {character!r} (U+{ord(character):04X} {name})"


def plain(cell: str) -> str:
    """The cell with characters of plain ASCII in the place of those that look like them."""
    dashes = "".join("-" if unicodedata.category(c) == "Pd" or c == "\u2212" else c for c in cell)
    return "".join(unicodedata.normalize("NFKC", dashes).split())
