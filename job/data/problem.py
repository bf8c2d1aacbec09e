"""What is wrong with a table, and the options that settle it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from typing import Any

from job.data.reading import DEFAULT, Reading


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
