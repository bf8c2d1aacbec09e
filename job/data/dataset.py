"""The dataset: a table, split in file order and normalised with the training rows' statistics."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db.history import Float32s, Float64s
from job.data.table import Table, read_table
from job.errors import DataError

if TYPE_CHECKING:
    from db.schema import DatasetRow

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "data" / "housing.data"
TRAIN_SHARE = 0.8
FEWEST_ROWS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A regression table, ready to train on: r training rows, s test rows, k features, one target.

    The values are aligned, C-contiguous float32 whatever arrays are given.
    """

    name: str
    sha256: str
    target: str
    features: tuple[str, ...]
    """k names, in the order of the weights"""
    train_x: Float32s
    """float32 [r, k], normalised"""
    train_y: Float32s
    """float32 [r, 1], normalised"""
    test_x: Float32s
    """float32 [s, k]"""
    test_y: Float32s
    """float32 [s, 1]"""
    minimum: Float64s
    """float64 [k + 1], over the training rows, the target last; likewise `maximum` and `mean`"""
    maximum: Float64s
    mean: Float64s

    def __post_init__(self) -> None:
        # The bits of a product depend on the layout: NumPy does not pass unaligned arrays to BLAS, and BLAS
        # sums column-major arrays in another order.
        for name in ("train_x", "train_y", "test_x", "test_y"):
            laid = np.require(getattr(self, name), np.float32, ["C", "ALIGNED"]).view()
            laid.flags.writeable = False  # all models of a run train on them
            object.__setattr__(self, name, laid)

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickled by the constructor: arrays from another process may be unaligned."""
        return Dataset, tuple(getattr(self, field.name) for field in fields(self))

    def sum_error(self) -> float:
        """The largest relative error of adding the rows' squared errors one by one in float32.

        The largest of 32 attempts with the training rows and 32 with the test rows, each with a linear
        regression of random parameters. It depends on the table: rows that repeat have the same rounding
        error each time, so their errors add up.
        """
        random = np.random.RandomState(0)
        worst = 0.0
        for x, y in [(self.train_x, self.train_y), (self.test_x, self.test_y)] * 32:
            weights, bias = np.split(random.randn(len(self.features) + 1, 1).astype(np.float32), [-1])
            squares = ((x @ weights + bias - y) ** 2).ravel()
            exact = squares.sum(dtype=np.float64)
            worst = max(worst, abs(float(np.add.accumulate(squares)[-1]) / exact - 1))
        return worst

    def row(self) -> DatasetRow:
        """The dataset as the store keeps it: its identity and statistics, without the values."""
        from db.schema import (  # not at the top: SQLAlchemy takes as long as NumPy
            DatasetRow,
            FeatureRow,
        )

        *features, target = zip(
            (*self.features, self.target),
            self.minimum.tolist(),
            self.maximum.tolist(),
            self.mean.tolist(),
            strict=True,
        )
        return DatasetRow(
            name=self.name,
            sha256=self.sha256,
            target=self.target,
            train_rows=len(self.train_x),
            test_rows=len(self.test_x),
            sum_error=self.sum_error(),
            target_minimum=target[1],
            target_maximum=target[2],
            target_mean=target[3],
            features=[
                FeatureRow(position=position, name=name, minimum=minimum, maximum=maximum, mean=mean)
                for position, (name, minimum, maximum, mean) in enumerate(features)
            ],
        )


def load(path: Path = DEFAULT_DATA, target: str | None = None) -> Dataset:
    """Read, check, split and normalise the table in `path`; `target` is by default its last column.

    The first 80 % of the rows, in file order, are the training rows. Every column, the target too, becomes
    (value - mean) / (maximum - minimum), with the statistics of the training rows alone.

    Raises DataError, naming file and place, for a table that cannot be trained on.
    """
    return split(read_table(path), target)


def split(source: Table, target: str | None = None) -> Dataset:
    """Check, split and normalise a table as `load` does. Raises DataError likewise."""
    path, columns, table = source.path, source.columns, source.values
    if len(columns) < 2:
        raise DataError(f"{path}: one column only ({columns[0]}); a feature and a target are needed")
    target = columns[-1] if target is None else target
    if target not in columns:
        raise DataError(f"{path}: there is no column {target!r}; the columns are {', '.join(columns)}")
    if len(table) < FEWEST_ROWS:
        raise DataError(f"{path}: {len(table)} rows; at least {FEWEST_ROWS} are needed")

    features = tuple(name for name in columns if name != target)
    order = [columns.index(name) for name in (*features, target)]
    table = table[:, order]
    train_rows = int(TRAIN_SHARE * len(table))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        minimum, maximum, mean = (
            table[:train_rows].min(0),
            table[:train_rows].max(0),
            table[:train_rows].mean(0),
        )
        for name, low, high in zip((*features, target), minimum, maximum, strict=True):
            if low == high:
                raise DataError(
                    f"{path}: column {name} is {low:g} in all {train_rows} training rows; its range is zero, "
                    "so it cannot be normalised: remove it"
                )
            if not np.isfinite(high - low):
                raise DataError(
                    f"{path}: column {name} spans from {low:g} to {high:g}, more than a double can hold"
                )
        normalised = ((table - mean) / (maximum - minimum)).astype(np.float32)
    if not np.isfinite(normalised).all():
        row, column = np.argwhere(~np.isfinite(normalised))[0]
        raise DataError(
            f"{path}: column {(*features, target)[column]}: data row {row + 1}: {table[row, column]:g} is "
            "beyond float32 once normalised"
        )
    return Dataset(
        name=path.name,
        sha256=source.sha256,
        target=target,
        features=features,
        train_x=normalised[:train_rows, :-1],
        train_y=normalised[:train_rows, -1:],
        test_x=normalised[train_rows:, :-1],
        test_y=normalised[train_rows:, -1:],
        minimum=minimum,
        maximum=maximum,
        mean=mean,
    )
