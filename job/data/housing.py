"""The housing table's format: 14 numbers without names, between blanks, in their columns' ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence

COLUMNS = (
    *("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE"),
    *("DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT", "MEDV"),
)
"""columns of the housing table, which has no line of names"""
VALUES = {
    **dict.fromkeys(("ZN", "INDUS", "AGE", "LSTAT"), (0, 100, False)),
    "CHAS": (0, 1, True),
    "RAD": (1, 24, True),
    "B": (0, 396.9, False),
    "MEDV": (0, 50, False),
}
"""minimum, maximum, and whether only integers are allowed: percentages; whether at the river; an index of
highways; 1000 (Bk - 0.63)^2 of a share Bk; a median that is cut off at 50. Other columns: at least 0"""
WRAPPED = (11, 3)
"""numbers in the two lines of a record, in the file that StatLib has"""


def problem_with(row: Sequence[float]) -> tuple[int, str] | None:
    """The position of the first of 14 values that its column cannot have, and why; None if there is none.

    NaN, a missing value, is allowed.
    """
    for position, (name, value) in enumerate(zip(COLUMNS, row, strict=True)):
        low, high, whole = VALUES.get(name, (0, math.inf, False))
        if value < low or value > high or (whole and value % 1 > 0):
            return position, (
                f"{value:g} cannot be {name} of the housing table, which is {'a whole number ' * whole}"
                f"from {low:g}" + f" to {high:g}" * (high < math.inf)
            )
    return None
