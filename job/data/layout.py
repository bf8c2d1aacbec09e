"""How the rows of a table lie in its file: found in the file's first lines, or named by options."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice, product

from job.data import housing
from job.data.cells import DECIMAL_COMMA, DECIMAL_POINT, ONE_GROUP, is_missing, is_number
from job.data.reading import DELIMITERS, Reading

SAMPLE_LINES, SAMPLE_BYTES = 200, 4_000_000
"""most lines and bytes that are looked at to find the layout"""
ENOUGH, FEWEST_LINES = 300_000, 6
"""characters that are enough, once there are so many lines"""
MOST_BEFORE = 50
"""rows that may come before the names: a title, a description"""
UNNAMED = 0.7
"""what the share of numbers is worth if no names fit the columns, as with a wrong delimiter"""
MISSING_IS = 0.5
"""what a missing value is worth beside a number: it is seen between tabs, not between white space"""
SPACE = re.compile(r"[^\S ]+")
"""white space in a name that becomes a blank: line breaks, tabs, no-break spaces"""
WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "white space"}
Line = tuple[int, list[str]]
"""the number of the last line of a row, from 1, and the row's cells"""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows lie in the file. A row has a cell for each of `names`."""

    delimiter: str
    """one character; a blank stands for any white space"""
    decimal: str
    names: tuple[str | None, ...]
    """None for a cell that belongs to no column: an index, or what a delimiter at the line's end makes"""
    kind: str
    """`named`, `unnamed` (columns get numbers), `housing`, or `wrapped`: housing, each record on two lines"""
    before: int
    """lines of the file before the first row of numbers"""
    names_line: int = 0
    """the line with the names, from 1; 0: none"""
    notes: tuple[str, ...] = ()
    """what is left out, and why"""
    ambiguous: tuple[int, str] | None = None
    """line and cell of a comma that separates decimals or thousands"""

    @property
    def described(self) -> str:
        """The layout in words."""
        kind = {
            "named": f"names in line {self.names_line}",
            "unnamed": "no line of names",
            "housing": "the housing table's format",
            "wrapped": "the housing table, each record on two lines",
        }[self.kind]
        by = WORDS.get(self.delimiter, repr(self.delimiter))
        return f"separated by {by}, {'decimal commas, ' * (self.decimal == ',')}{kind}"


def records(lines: Iterable[str], delimiter: str, strict: bool = True) -> Iterator[Line]:
    """The rows of a text, whose cells may be quoted. Raises csv.Error, if `strict`, for a broken quote."""
    if delimiter == " ":
        for number, line in enumerate(lines, 1):
            if cells := quoted(line) if '"' in line else line.split():
                yield number, cells
        return
    reader = csv.reader(lines, delimiter=delimiter, strict=strict, skipinitialspace=True)
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def quoted(line: str) -> list[str]:
    """The cells between white space of a line with quotes."""
    return next(csv.reader([" ".join(line.split())], delimiter=" "), [])


def lines_of(text: bytes) -> Iterator[str]:
    """The lines of UTF-8 text, with their ends."""
    return io.TextIOWrapper(io.BytesIO(text), "utf-8", newline="")


def find_layout(text: bytes, reading: Reading) -> Layout:
    """The layout of a table. Of all that are possible, that in which most cells are numbers."""
    lines = first_lines(text)
    delimiters = (reading.delimiter,) if reading.delimiter else DELIMITERS
    said = re.fullmatch(r'"?sep=(.)"?', lines[0].strip()) if lines else None
    if said and not reading.delimiter:  # Excel's own first line
        delimiters = (said[1],)
    decimals = [each for each in (".", ",") if each != reading.thousands]
    found = [
        Sample(lines, delimiter, decimal, reading, bool(said))
        for decimal, delimiter in product([reading.decimal] if reading.decimal else decimals, delimiters)
        if reading.decimal or decimal != delimiter
    ]
    return max(found, key=lambda sample: sample.merit).layout()


def first_lines(text: bytes) -> list[str]:
    """The lines to find a layout in: fewer if they are long."""
    start = text[:SAMPLE_BYTES]
    if len(text) > SAMPLE_BYTES and b"\n" in start:
        start = start[: start.rfind(b"\n") + 1]
    found: list[str] = []
    size = 0
    for line in islice(io.StringIO(start.decode(errors="replace"), newline=""), SAMPLE_LINES):
        found.append(line)
        size += len(line)
        if size > ENOUGH and len(found) >= FEWEST_LINES:
            break
    return found


class Sample:
    """The first rows of a file, as one delimiter and one decimal point read them."""

    def __init__(
        self, lines: Sequence[str], delimiter: str, decimal: str, reading: Reading, said: bool
    ) -> None:
        self.lines, self.delimiter, self.decimal, self.reading = lines, delimiter, decimal, reading
        self.rows: list[Line] = []
        with suppress(csv.Error):  # the reader of the whole file names the place
            for number, cells in records(lines, delimiter, strict=False):
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    self.rows.append((number, stripped))
        self.top = self.rows.pop(0)[0] if said and self.rows else 0
        self.comment: Line | None = None
        while self.rows and self.rows[0][1][0][:1] in ("#", "%"):
            self.comment = self.rows.pop(0)
            self.top = self.comment[0]
        self.numeric = [sum(map(self.is_number, cells)) for _, cells in self.rows]
        widths = Counter(
            len(cells) for (_, cells), count in zip(self.rows, self.numeric, strict=True) if count
        )
        self.width = max(
            widths or Counter(len(cells) for _, cells in self.rows) or {1: 0}, key=lambda w: widths[w]
        )
        self.notes: list[str] = []
        self.described = self.described_first()
        self.names_at = None if not reading.header else self.find_names()

    def is_number(self, cell: str) -> bool:
        """Whether a cell is a number here."""
        return is_number(cell, self.decimal, self.reading.thousands)

    @property
    def merit(self) -> tuple[bool, float, bool, int]:
        """How good the sample is: whether all rows fit the names; the share of numbers; the columns."""
        full = [
            count + MISSING_IS * sum(map(is_missing, cells))
            for (_, cells), count in zip(self.rows, self.numeric, strict=True)
            if len(cells) == self.width and count
        ]
        share = sum(full) / max(len(self.rows) * self.width, 1)
        named = self.names_at is not None and len(self.names_at[1]) == self.width > 1
        fits = named and share > 0 and all(len(cells) == self.width for _, cells in self.rows)
        return fits, share * (1 if named else UNNAMED), self.width > 1, self.width

    def described_first(self) -> bool:
        """Whether the first row says how many rows and features follow, as scikit-learn's files do."""
        if len(self.rows) < 2:
            return False
        _, cells = self.rows[0]
        two = [int(cell) for cell in cells[:2] if cell.isascii() and cell.isdigit()]
        return (
            len(two) == 2
            and two[1] == self.width - 1
            and not any(map(self.is_number, cells[2:]))
            and all(len(row) == self.width for _, row in self.rows[1:3] if any(map(self.is_number, row)))
        )

    def body(self, at: int, width: int) -> list[list[str]]:
        """The rows of that width after row `at`."""
        return [cells for _, cells in self.rows[at + 1 :] if len(cells) == width]

    def find_names(self) -> tuple[int, list[str | None], int] | None:
        """The row with the names (-1: a comment), the name of each cell, and the line."""
        for at, (line, cells) in enumerate(self.rows[:MOST_BEFORE]):
            if at == 0 and self.described:
                continue
            names = self.names_in(at, cells)
            if names is not None:
                return at, names, line
            if self.numeric[at] == len(cells) or (len(cells) == self.width and self.numeric[at]):
                break  # the first row of numbers
        if self.comment is not None:
            line, cells = self.comment
            text = " ".join(cells) if self.delimiter == " " else self.lines[line - 1]
            for delimiter in (self.delimiter, *DELIMITERS):
                row = next(records([text.strip().lstrip("#% ")], delimiter, strict=False), (0, []))[1]
                row = [cell.strip() for cell in row]
                if len(row) == self.width > 1 and not any(map(self.is_number, row)):
                    return -1, self.without_ends(-1, row), line
        last = next((at for at, count in enumerate(self.numeric) if count), 0) - 1
        if last >= 0 and len(self.rows[last][1]) > 1 and not self.wrapped(last + 1):
            line, cells = self.rows[last]  # the rows of numbers have another width, which is a problem
            return last, list(cells), line
        return None

    def wrapped(self, first: int) -> bool:
        """Whether the rows from `first` on are the two lines of a record in StatLib's file, in turn."""
        widths = [len(cells) for _, cells in self.rows[first : first + 4]]
        return self.delimiter == " " and widths == [*housing.WRAPPED] * 2

    def names_in(self, at: int, cells: list[str]) -> list[str | None] | None:
        """The name of each cell of a row, if `cells`, of row `at`, are names of columns."""
        width = self.width
        if len(cells) == width + 1 and not cells[-1]:
            cells = cells[:-1]
        body = self.body(at, width)
        if not body and len(cells) == width and not any(map(self.is_number, cells)):
            return self.without_ends(at, cells)  # nothing but names, or rows without a number
        if not body:
            return None
        if len(cells) == width:
            heads = [not (is_missing(cell) or self.is_number(cell)) for cell in cells]
            columns = list(zip(*body, strict=True))
            below = [2 * sum(map(self.is_number, column)) > len(column) for column in columns]
            years = [int(cell) for cell in cells if re.fullmatch(r"1[5-9]\d\d|20\d\d", cell)]
            if any(heads) and len(years) > 1 and len(years) == years[-1] - years[0] + 1:
                return self.without_ends(at, cells)  # each year has a column
            above = [head for head, number in zip(heads, below, strict=True) if number]
            if 2 * sum(above) > len(above) or (all(heads) and not any(self.numeric[at:])):
                return self.without_ends(at, cells)
        elif len(cells) == width - 1 and len(body) > 1 and not any(map(self.is_number, cells)):
            if all(not row[-1] for row in body):
                return self.without_ends(at, [*cells, ""])
            if counts([row[0] for row in body]) or not any(self.is_number(row[0]) for row in body):
                return self.without_ends(at, ["", *cells])
            if self.delimiter == " " and f'"{body[0][0]}"' in self.lines[self.rows[at + 1][0] - 1]:
                return self.without_ends(at, ["", *cells])
        elif width > 1 and len(cells) == 1:  # all names in one cell, or separated in another way
            inner = cells[0].strip("'\"")
            for delimiter in DELIMITERS:
                names = next(records([inner], delimiter, strict=False), (0, []))[1]
                names = [name.strip(" \t'\"") for name in names]
                if len(names) == width and not any(map(self.is_number, names)):
                    return list(names)
        return None

    def without_ends(self, at: int, cells: Sequence[str]) -> list[str | None]:
        """The names, with None for an index in front and for what a delimiter at the end of lines makes."""
        names: list[str | None] = list(cells)
        if all(name and name[0] == name[-1] == "'" and len(name) > 2 for name in cells):
            names = [name[1:-1] for name in cells]
        body = self.body(at, len(names))
        if len(names) > 1 and not names[-1] and all(not row[-1] for row in body):
            names[-1] = None
        first = [row[0] for row in body]
        unnamed = re.fullmatch(r"(Unnamed: 0)?", cells[0])
        if len(names) > 1 and unnamed and (not names[0] or counts(first)):
            names[0] = None
            self.notes.append("column 1 is left out: it has no name, so it is taken for an index")
        return names

    def layout(self) -> Layout:
        """The layout that these rows have."""
        rows, kind, names_line = self.rows, "unnamed", 0
        names: list[str | None] = [f"column_{i}" for i in range(1, self.width + 1)]
        if self.names_at is not None:
            at, names, names_line = self.names_at
            kind, first = "named", at + 1
            if at < 0:
                self.notes.insert(0, f"the names are those of the comment in line {names_line}")
        else:
            first = next(
                (i for i, n in enumerate(self.numeric) if n and not (i == 0 and self.described)), len(rows)
            )
        if not rows:
            names, kind = [], "named"
        before = names_line if kind == "named" else rows[first - 1][0] if first else self.top
        skipped = [line for line, _ in rows[: max(first - (kind == "named"), 0)]]
        if skipped:
            lines = f"line {skipped[0]}" if len(skipped) == 1 else f"lines {skipped[0]} to {skipped[-1]}"
            self.notes.insert(0, f"{lines} left out: no row of the table")
        if point := self.point():
            self.notes.append(
                f"line {point[0]}: the point in {point[1]!r} is taken for a decimal point; if it separates "
                "thousands, use --decimal , --thousands ."
            )
        found = Layout(
            self.delimiter,
            self.decimal,
            tuple(name and SPACE.sub(" ", name) for name in names),
            kind,
            before,
            names_line,
            tuple(self.notes),
            self.doubt(),
        )
        blanks = self.delimiter == " " and not any("\t" in line for line in self.lines)
        if kind == "named" or not (blanks and self.reading.header and self.reading.delimiter is None):
            return found
        if self.wrapped(first):
            return replace(found, kind="wrapped", names=housing.COLUMNS)
        if not any(len(cells) == len(housing.COLUMNS) for _, cells in rows):
            return found
        return replace(found, kind="housing", names=housing.COLUMNS)

    def doubt(self) -> tuple[int, str] | None:
        """The first cell with a comma, if every comma may as well separate thousands."""
        if self.decimal != "," or self.reading.decimal or self.reading.thousands:
            return None
        return self.first_group(DECIMAL_COMMA)

    def point(self) -> tuple[int, str] | None:
        """The first cell with a point, if semicolons separate the columns and points may thousands."""
        if self.delimiter != ";" or self.decimal != "." or self.reading.decimal or self.reading.thousands:
            return None
        return self.first_group(DECIMAL_POINT)

    def first_group(self, fraction: re.Pattern[str]) -> tuple[int, str] | None:
        """The first cell with a fraction, if all of these may as well have a group of three digits."""
        found = [(line, cell) for line, cells in self.rows for cell in cells if fraction.fullmatch(cell)]
        return found[0] if found and all(ONE_GROUP.fullmatch(cell) for _, cell in found) else None


def counts(cells: Sequence[str]) -> bool:
    """Whether cells count from 0 or 1."""
    return bool(cells) and any(list(cells) == [str(i + start) for i in range(len(cells))] for start in (0, 1))
