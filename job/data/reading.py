"""The options with which a table is read and split, and the problems that they settle.

The options are part of a run's specification.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from dataclasses import dataclass, fields, replace
from typing import Any

from job.errors import DataError

DELIMITERS = (",", ";", "\t", "|", " ")
"""the delimiters that are found without an option; a blank stands for any white space"""
NAMES = {"\t": "tab", " ": "space"}
"""words for characters that cannot be seen"""
MISSING = ("drop", "mean")
CONSTANT = ("drop",)
LARGEST_SEED = 2**32 - 1
LONGEST = 1500
"""bytes of the stored options: they are part of a key, of which PostgreSQL takes 2,704"""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table is read and split. The defaults find the format, and refuse what is missing or constant."""

    delimiter: str | None = None
    """one character; a blank stands for any white space; None: found in the file"""
    decimal: str | None = None
    """`.` or `,`; None: found in the file"""
    thousands: str | None = None
    """one character that separates thousands; None: there is none"""
    header: bool = True
    """whether the columns have names; without names they are column_1, column_2, ..."""
    features: tuple[str, ...] = ()
    """the columns to train on, in this order; none: all but the target"""
    drop: tuple[str, ...] = ()
    """columns to leave out"""
    missing: str | None = None
    """`drop`: rows with a missing value are left out; `mean`: it becomes the training rows' mean"""
    constant: str | None = None
    """`drop`: features that are constant in the training rows are left out"""
    test_share: float = 0.2
    """the share of the rows that are test rows, between 0 and 1"""
    shuffle: int | None = None
    """the seed by which the rows are shuffled before the split; None: they stay in file order"""

    def __post_init__(self) -> None:
        """Raise DataError for an option that has no meaning."""
        for name in ("delimiter", "decimal", "thousands"):
            value = getattr(self, name)
            if value is not None and (len(value) != 1 or value in '\n\r"' or value.isalnum()):
                raise DataError(f"--{name} {value!r}: give one character that is no letter, digit or quote")
        if self.decimal not in (None, ".", ","):
            raise DataError(f"--decimal {self.decimal!r}: give . or ,")
        if self.thousands and self.thousands == (self.decimal or "."):
            raise DataError(
                f"--thousands {self.thousands} is the decimal point, too; name another by --decimal"
            )
        for name, known in (("missing", MISSING), ("constant", CONSTANT)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise DataError(f"--{name} {value!r}: give {' or '.join(known)}")
        if not (math.isfinite(self.test_share) and 0 < self.test_share < 1):
            raise DataError(f"--test-share {self.test_share:g}: give a number between 0 and 1, without them")
        if self.shuffle is not None and not 0 <= self.shuffle <= LARGEST_SEED:
            raise DataError(f"--shuffle {self.shuffle}: give a seed from 0 to {LARGEST_SEED}")
        if (size := len(self.stored.encode())) > LONGEST:
            raise DataError(f"the options for the table have {size:,} bytes; the limit is {LONGEST:,}")
        if both := set(self.features) & set(self.drop):
            raise DataError(f"{min(both)!r} is in --features and in --drop")

    @property
    def stored(self) -> str:
        """The options that are not the default, as the store keeps them: JSON with sorted keys."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        changed = {name: value for name, (value, default) in values.items() if value != default}
        return json.dumps(changed, sort_keys=True, ensure_ascii=False)

    @classmethod
    def of(cls, stored: str) -> Reading:
        """The options that `stored` gave. Raises DataError for what this version does not know."""
        try:
            values: dict[str, Any] = json.loads(stored)
            values.update({name: tuple(values[name]) for name in ("features", "drop") if name in values})
            return cls(**values)
        except (ValueError, TypeError, AttributeError):
            raise DataError(f"the store's reading options {stored!r} are unknown to this version") from None

    @property
    def words(self) -> list[str]:
        """The words of the command line that give these options."""
        words: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            option = f"--{field.name.replace('_', '-')}"
            if field.name == "header":
                words.append("--no-header")
            elif isinstance(value, tuple):
                words += [option, joined(value)]
            else:
                words += [option, NAMES.get(value, str(value))]
        return words


DEFAULT = Reading()


def character_of(word: str | None) -> str | None:
    """The character that a word for it means: tab, space, or the character itself."""
    words = {name: character for character, name in NAMES.items()} | {"\\t": "\t"}
    return word if word is None else words.get(word, word)


def joined(names: tuple[str, ...]) -> str:
    """Names as one line of CSV: those with a comma in double quotes."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def listed(text: str | None) -> tuple[str, ...]:
    """The names in one line of CSV. Raises DataError if there is none in a text."""
    if text is None:
        return ()
    cells = next(csv.reader([text], skipinitialspace=True), [])
    names = tuple(dict.fromkeys(name for cell in cells if (name := cell.strip())))
    if not names:
        raise DataError(f"{text!r} names no column")
    return names


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a table, or a warning about one."""

    text: str
    """what is wrong and where, without the file's name"""
    options: tuple[Reading, ...] = ()
    """alternatives: each has the option that settles it, and the default for all others"""
    else_do: str = ""
    """what else helps, in words"""
    whose: str = ""
    """which tables the options are for, or what they do, in words"""
    target: str | None = None
    """the column to predict, with the options"""

    @property
    def ways(self) -> list[str]:
        """The alternatives as words of the command line."""
        target = ["--target", self.target] if self.target else []
        return [shlex.join([*target, *option.words]) for option in self.options]

    @property
    def remedy(self) -> str:
        """What settles it, in words; empty if nothing is known to."""
        said = f"{self.whose}use {' or '.join(self.ways)}" if self.options else ""
        return ", or ".join(filter(None, (said, self.else_do)))

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.text, self.remedy)))


def settled(reading: Reading, problems: list[Problem]) -> Reading:
    """The options with those added that settle the problems, the first alternative of each."""
    for problem in problems:
        if not problem.options:
            continue
        changes: dict[str, Any] = {}
        for field in fields(Reading):
            value = getattr(problem.options[0], field.name)
            if value == getattr(DEFAULT, field.name):
                continue
            if isinstance(value, tuple):
                value = tuple(dict.fromkeys((*getattr(reading, field.name), *value)))
            changes[field.name] = value
        kept = tuple(name for name in reading.features if name not in changes.get("drop", ()))
        reading = replace(reading, **({"features": kept} | changes))
    return reading
