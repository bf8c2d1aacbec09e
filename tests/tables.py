"""Writes a table in the formats that people have."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

NAMES = ("a", "b", "y")
ROWS = tuple((i / 8 - 1, i * i / 16, 3 - i * 0.25 + i % 3) for i in range(12))
"""numbers that few digits write exactly"""


@dataclass(frozen=True)
class Form:
    """How a table is written."""

    delimiter: str = ","
    decimal: str = "."
    header: bool = True
    quoted: bool = False
    index: bool = False
    end: str = "\n"
    comma_at_end: bool = False
    aligned: bool = False
    """numbers are padded with blanks"""

    def write(self, names: Sequence[str] = NAMES, rows: Sequence[Sequence[float]] = ROWS) -> str:
        """The table as text."""
        out = io.StringIO()
        writer = csv.writer(
            out,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_ALL if self.quoted else csv.QUOTE_MINIMAL,
            lineterminator=self.end,
        )
        end = [""] * self.comma_at_end
        if self.header:
            writer.writerow([*[""] * self.index, *names, *end])
        for i, row in enumerate(rows):
            cells = [repr(float(value)).replace(".", self.decimal) for value in row]
            if self.aligned:
                cells = [f"{cell:>12}" for cell in cells]
            line = [*[str(i)] * self.index, *cells, *end]
            if self.aligned and self.delimiter == " ":
                out.write(" ".join(line) + self.end)
            else:
                writer.writerow(line)
        return out.getvalue()


PLAIN = Form().write()
