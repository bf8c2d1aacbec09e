"""Lays tables out for the width of the screen: no key or number is left out or cut.

A table that is too wide loses the columns without any value, and those that matter least; then its column
names get several lines, then its texts. In a table that is still too wide, rows are on their side, a line for
each column, as many rows beside each other as fit.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from rich.cells import cell_len

Row = Sequence[str]
GAP = 2
"""blanks between two columns"""
WIDE = 200
"""most characters that a column is wide; a longer cell moves the rest of its row to the right"""
NARROW = 16
"""fewest characters to which a column of texts is narrowed; days and digests need fewer"""

PARTS = re.compile("[^_ ]+[_ ]?|[_ ]")
"""what a column's name may be cut into"""


def screen_width() -> int | None:
    """Characters in a line of the terminal, or as COLUMNS says; None if the output is no terminal's."""
    if not ("COLUMNS" in os.environ or sys.stdout.isatty()):
        return None
    return shutil.get_terminal_size().columns


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text of words, none wider than `width`; a longer word is cut into several."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
            continue
        lines += [""] * bool(lines[-1])
        for letter in word:
            if cell_len(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def heading(name: str, width: int) -> list[str]:
    """The lines of a column's name, which may be cut after each underscore or blank."""
    lines = [""]
    for part in PARTS.findall(name):
        if lines[-1] and cell_len((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


@dataclass(frozen=True)
class Columns:
    """The columns of a table on a screen; `measured` are the rows that decide how wide they are."""

    names: Row
    numeric: Sequence[bool]
    """which hold numbers; these stand to the right"""
    measured: Sequence[Row]
    screen: int | None

    @cached_property
    def empty(self) -> list[int]:
        """The positions of the columns without any value."""
        return [i for i in range(len(self.names)) if not any(row[i] for row in self.measured)]

    @cached_property
    def fits(self) -> bool:
        """Whether each column can be as wide as its name and its widest cell."""
        return self.screen is None or sum(self.whole) + GAP * (len(self.names) - 1) <= self.screen

    @cached_property
    def content(self) -> list[list[int]]:
        """The characters of the cells, by column."""
        return [[min(WIDE, cell_len(row[i])) for row in self.measured] for i in range(len(self.names))]

    @cached_property
    def whole(self) -> list[int]:
        """The characters of each column that is as wide as its name and its widest cell."""
        return [max([cell_len(name), *cells]) for name, cells in zip(self.names, self.content, strict=True)]

    @cached_property
    def widths(self) -> Sequence[int] | None:
        """Characters of each column; None if each row is shown on its side."""
        if self.screen is None or self.fits:
            return self.whole
        room = self.screen - GAP * (len(self.names) - 1)
        parts = [max([0, *map(cell_len, PARTS.findall(name))]) for name in self.names]
        widths = [max([part, *cells]) for part, cells in zip(parts, self.content, strict=True)]
        least = [
            width if numeric else min(width, max(NARROW, part))
            for width, numeric, part in zip(widths, self.numeric, parts, strict=True)
        ]
        if sum(least) > room:
            return None
        while sum(widths) > room:
            widths[max(range(len(widths)), key=lambda i: (widths[i] - least[i], -i))] -= 1
        for i, width in enumerate(self.whole):  # names in one line where there is room
            widths[i] += max(0, min(width - widths[i], room - sum(widths)))
        return widths

    def head(self) -> list[str]:
        """The lines with the columns' names; none if rows are on their side, or no column has a name."""
        if self.widths is None or not any(self.names):
            return []
        return self._lines(
            [heading(*pair) for pair in zip(self.names, self.widths, strict=True)], bottom=True
        )

    @cached_property
    def left(self) -> int:
        """Characters of the names, if rows are on their side."""
        return max(map(cell_len, self.names))

    @cached_property
    def side(self) -> int:
        """Characters of a row on its side: of its widest cell, if there is room."""
        room = max(NARROW, (self.screen or WIDE) - self.left - GAP)
        return max((min(room, width) for cells in self.content for width in cells), default=room)

    @cached_property
    def at_once(self) -> int:
        """How many rows are laid out together: as many on their side as fit beside each other."""
        if self.widths is not None or self.screen is None:
            return 1
        return max(1, (self.screen - self.left) // (GAP + self.side))

    def lines(self, *rows: Row) -> list[str]:
        """The lines of `at_once` rows; the last may be fewer."""
        if self.widths is not None:
            cells = zip(rows[0], self.widths, self.numeric, strict=True)
            whole = self.screen is None
            return self._lines(
                [[cell] if number or whole else wrapped(cell, width) for cell, width, number in cells]
            )
        lines = []
        for i, name in enumerate(self.names):
            beside = zip_longest(*(wrapped(row[i], self.side) for row in rows), fillvalue="")
            for j, parts in enumerate(beside):
                line = [padded("" if j else name, self.left), *(padded(part, self.side) for part in parts)]
                lines.append((" " * GAP).join(line).rstrip())
        return [*lines, ""]

    def _lines(self, cells: Sequence[list[str]], bottom: bool = False) -> list[str]:
        """The lines of cells beside each other, which begin at the top or end at the bottom."""
        height = max(map(len, cells))
        filled = ([""] * (height - len(cell)) + cell if bottom else cell for cell in cells)
        return [
            (" " * GAP)
            .join(padded(*piece) for piece in zip(line, self.widths or (), self.numeric, strict=True))
            .rstrip()
            for line in zip_longest(*filled, fillvalue="")
        ]


def padded(text: str, width: int, right: bool = False) -> str:
    """A text with blanks after it, or before it, to that width."""
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank
