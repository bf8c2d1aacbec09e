"""Reads a table of numbers from a file; errors name the place in one line."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db.files import read_regular
from db.history import Float64s
from job.errors import DataError

HOUSING_COLUMNS = (
    *("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE"),
    *("DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT", "MEDV"),
)
"""columns of the whitespace-separated housing table, which has no header"""
HOUSING_VALUES = {
    **dict.fromkeys(("ZN", "INDUS", "AGE", "LSTAT"), (0, 100, False)),
    "CHAS": (0, 1, True),
    "RAD": (1, 24, True),
    "B": (0, 396.9, False),
    "MEDV": (0, 50, False),
}
"""minimum, maximum, and whether only integers are allowed: percentages; whether at the river; an index of
highways; 1000 (Bk - 0.63)^2 of a share Bk; a median that is cut off at 50. Other columns: at least 0"""
OWN = "a table of your own must be CSV with a header"
Line = tuple[int, list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The content of a data file: c columns, n rows."""

    path: Path
    sha256: str
    """of the bytes that the values were read from"""
    columns: tuple[str, ...]
    values: Float64s
    """float64 [n, c]"""


def read_table(path: Path) -> Table:
    """The table in a file of numbers.

    A file that is named .csv or has a comma in its first line is read as CSV with a header; any other as the
    housing table, 14 whitespace-separated numbers a line in their columns' ranges. Blank lines are skipped.

    Raises DataError, naming file, line and column, for anything else.
    """
    if not str(path).isprintable():  # the store keeps the name, as UTF-8
        raise DataError(f"{str(path)!a}: the file's name is not printable UTF-8; rename it")
    raw = _bytes(path)
    text = _text(path, raw)
    first = next((line for line in text.split("\n") if line.strip()), None)
    if first is None:
        raise DataError(f"{path}: the file is empty")
    if path.suffix.lower() == ".csv" or "," in first:
        records = _csv_records(path, text)
        header = next(records, None)
        if header is None:
            raise DataError(f"{path}: line 1: nothing but empty columns")
        columns = _header(path, *header)
    else:
        lines = enumerate(text.split("\n"), 1)
        records = ((number, line.split()) for number, line in lines if line.strip())
        columns = HOUSING_COLUMNS
    values = []
    for number, cells in records:
        values.append(_numbers(path, number, cells, columns))
        if columns is HOUSING_COLUMNS:
            _require_housing(path, number, values[-1])
    return Table(
        path=path,
        sha256=hashlib.sha256(raw).hexdigest(),
        columns=columns,
        values=np.array(values, np.float64).reshape(-1, len(columns)),
    )


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a directory, not a data file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _text(path: Path, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise DataError(
            f"{path}: line {line}, byte {column}: not UTF-8 text; save the table as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}: line {line}: a binary file, not a table of numbers")
    return text


def _csv_records(path: Path, text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: not readable as CSV: {error}") from None


def _header(path: Path, number: int, names: list[str]) -> tuple[str, ...]:
    for column, name in enumerate(names, 1):
        if not name:
            raise DataError(f"{path}: line {number}, column {column}: the column has no name")
        if not name.isprintable():
            raise DataError(f"{path}: line {number}, column {column}: {name!a} has a line break or the like")
        if _is_number(name):
            raise DataError(
                f"{path}: line {number}, column {column}: {name!r} is a number, but the first line of a "
                "CSV file must name the columns"
            )
        if name == "bias":
            raise DataError(
                f"{path}: line {number}, column {column}: 'bias' is the name of the model's own parameter; "
                "rename the column"
            )
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        columns = " and ".join(str(i) for i, name in enumerate(names, 1) if name == doubled[0])
        raise DataError(f"{path}: line {number}, columns {columns}: both are named {doubled[0]!r}")
    return tuple(names)


def _numbers(path: Path, number: int, cells: list[str], columns: tuple[str, ...]) -> list[float]:
    values = []
    for column, (cell, name) in enumerate(zip(cells, columns, strict=False), 1):
        where = f"{path}: line {number}, column {column} ({name})"
        if not cell:
            raise DataError(f"{where}: the value is missing")
        if not _is_number(cell):
            raise DataError(f"{where}: {cell[:40]!r} is not a number")
        value = float(cell)
        if not math.isfinite(value):
            raise DataError(f"{where}: {cell[:40]!r} is not a finite number")
        values.append(value)
    if len(cells) != len(columns):
        housing = columns is HOUSING_COLUMNS
        raise DataError(
            f"{path}: line {number}: {len(cells)} values, but the {'housing ' * housing}table has "
            f"{len(columns)} columns" + f"; {OWN}" * housing
        )
    return values


def _require_housing(path: Path, number: int, row: list[float]) -> None:
    for column, (name, value) in enumerate(zip(HOUSING_COLUMNS, row, strict=True), 1):
        low, high, whole = HOUSING_VALUES.get(name, (0, math.inf, False))
        if not low <= value <= high or (whole and value % 1):
            raise DataError(
                f"{path}: line {number}, column {column}: {value:g} cannot be {name} of the housing table, "
                f"which is {'a whole number ' * whole}from {low:g}"
                + f" to {high:g}" * (high < math.inf)
                + f"; {OWN}"
            )


def _is_number(cell: str) -> bool:
    # float() also accepts 1_000 and digits of other scripts.
    if "_" in cell or not cell.isascii():
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True
