"""The dataset: a table, split and normalised with the training rows' statistics; doubts about one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from db.history import Float32s, Float64s, Int64s
from job.data.reading import DEFAULT, Problem, Reading
from job.data.table import Table, read_table, refuse

if TYPE_CHECKING:
    from db.schema import DatasetRow

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "data" / "housing.data"
FEWEST_ROWS = 5
MOST_DOUBTED = 100_000
"""rows that are looked at for doubts"""
FEWEST_EACH = 3
"""rows that each side of a doubt needs: fewer are on one side by chance"""


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
    reading: Reading = DEFAULT
    """the options by which the file gives this dataset"""
    notes: tuple[str, ...] = ()
    """what of the file is left out, and why"""

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
        # Not at the top: SQLAlchemy takes as long as NumPy.
        from db.schema import DatasetRow, FeatureRow

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
            reading=self.reading.stored,
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


def load(path: Path = DEFAULT_DATA, target: str | None = None, reading: Reading = DEFAULT) -> Dataset:
    """Read, check, split and normalise the table in `path`; `target` is by default its last column.

    By default the first 80 % of the rows, in file order, are the training rows; `reading` may shuffle them
    and choose another share. Every column, the target too, becomes (value - mean) / (maximum - minimum), with
    the statistics of the training rows alone.

    Raises DataError, naming file and place, for a table that cannot be trained on.
    """
    return split(read_table(path, reading, target), target)


def split(source: Table, target: str | None = None) -> Dataset:
    """Check, split and normalise a table as `load` does, by its `reading`. Raises DataError likewise."""
    dataset, problems = try_to_split(source, target)
    refuse(source.path, problems)
    assert dataset is not None
    return dataset


def try_to_split(source: Table, target: str | None = None) -> tuple[Dataset | None, list[Problem]]:
    """The dataset that `split` makes, or everything that is wrong with the table."""
    columns, table, reading = source.columns, source.values, source.reading
    target = columns[-1] if target is None else target
    features = tuple(name for name in reading.features or columns if name != target)
    if not features:
        what = f"one column only ({target}); a feature and a target are needed"
        return None, [Problem(what)]
    order = [columns.index(name) for name in (*features, target)]
    rows = np.arange(len(table))
    if reading.missing == "drop":
        rows = rows[~np.isnan(table[:, order]).any(1)]
    if len(rows) < FEWEST_ROWS:
        count = f"{len(rows)} row{'s' * (len(rows) != 1)}" + " without a missing value" * (
            len(rows) < len(table)
        )
        what = f"line {source.lines[-1]}: the table ends after {count}; at least {FEWEST_ROWS} are needed"
        return None, [Problem(what)]
    if reading.shuffle is not None:
        rows = np.random.RandomState(reading.shuffle).permutation(rows)
    # Exactly: 1 - 0.9 is less than 0.1 in floating point.
    train_rows = int((1 - Decimal(str(reading.test_share))) * len(rows))
    if not 2 <= train_rows < len(rows):
        what = f"--test-share {reading.test_share:g} makes {train_rows} of {len(rows)} rows training rows"
        return None, [Problem(f"{what}; at least 2, and a test row, are needed")]

    normalised = np.empty((len(rows), len(order)), np.float32)
    statistics: list[tuple[float, float, float]] = []
    kept: list[str] = []
    problems: list[Problem] = []
    for name, position in zip((*features, target), order, strict=True):
        column, is_target = table[rows, position], name == target
        problem = fill(source, column, rows, train_rows, name, is_target=is_target)
        train = column[:train_rows]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            low, high, mean = train.min(), train.max(), train.mean()
            if low == high and reading.constant == "drop" and not is_target and problem is None:
                continue
            values = normalised[:, len(kept)] = ((column - mean) / (high - low)).astype(np.float32)
            problem = problem or range_problem(source, name, low, high, train_rows, is_target=is_target)
        if problem is None and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            where = source.place(name, rows[row])
            what = f"{where}: {column[row]:g} is beyond float32 once normalised"
            problem = Problem(what, leaving_out(name, is_target))
        if problem is not None:
            problems.append(problem)
        kept.append(name)
        statistics.append((low, high, mean))
    if kept == [target]:
        problems.append(Problem(f"no feature is left beside the target {target}"))
    if problems:
        return None, problems
    minimum, maximum, mean = np.array(statistics).T
    return Dataset(
        name=source.path.name,
        sha256=source.sha256,
        target=target,
        features=tuple(kept[:-1]),
        train_x=normalised[:train_rows, : len(kept) - 1],
        train_y=normalised[:train_rows, len(kept) - 1 : len(kept)],
        test_x=normalised[train_rows:, : len(kept) - 1],
        test_y=normalised[train_rows:, len(kept) - 1 : len(kept)],
        minimum=minimum,
        maximum=maximum,
        mean=mean,
        reading=reading,
        notes=source.layout.notes,
    ), []


def fill(
    source: Table, column: Float64s, rows: Int64s, train_rows: int, name: str, *, is_target: bool
) -> Problem | None:
    """Give missing values the training rows' mean, in place; or say why that cannot be.

    `column` has the values of `rows` of the table, the training rows first.
    """
    missing = np.isnan(column)
    if not missing.any():
        return None
    if is_target:
        where = source.place(name, rows[missing].min())
        what = f"{where}: a value of the target is missing, the first of {missing.sum():,}"
        return Problem(what, (Reading(missing="drop"),))
    known = column[:train_rows][~missing[:train_rows]]
    if not len(known):
        what = f"{source.place(name)}: no training row has a value"
        return Problem(what, leaving_out(name, is_target))
    column[missing] = known.mean()
    return None


def range_problem(
    source: Table, name: str, low: float, high: float, train_rows: int, *, is_target: bool
) -> Problem | None:
    """Why a column cannot be divided by its range in the training rows, if it cannot."""
    if low == high:
        return Problem(
            f"{source.place(name)} is {low:g} in all {train_rows} training rows; its range is zero, so it "
            "cannot be normalised",
            () if is_target else (Reading(constant="drop"),),
            else_do="choose another --target, or --shuffle the rows" if is_target else "",
        )
    if np.isinf(high - low):
        what = f"{source.place(name)} spans from {low:g} to {high:g}, more than a double can hold"
        return Problem(what, leaving_out(name, is_target))
    return None


def leaving_out(name: str, is_target: bool) -> tuple[Reading, ...]:
    """The option that leaves a column out, if that can be."""
    return () if is_target else (Reading(drop=(name,)),)


def doubts(dataset: Dataset) -> Iterator[Problem]:
    """What a user should look at before training, each with the option that settles it.

    The dataset can be trained on, but may not be what its user thinks.
    """
    train, test = dataset.train_y, dataset.test_y
    apart = train.max() < test.min() or test.max() < train.min()
    if apart and len(test) >= FEWEST_EACH:
        yield Problem(
            f"the values of {dataset.target} in the training and in the test rows do not overlap, as if the "
            "rows were sorted",
            (Reading(shuffle=0),),
        )
    target = np.concatenate([train, test])[:MOST_DOUBTED, 0]
    if not varied(target):
        return
    for i, name in enumerate(dataset.features):
        feature = np.concatenate([dataset.train_x[:, i], dataset.test_x[:, i]])[:MOST_DOUBTED]
        if varied(feature) and (in_step(feature, target) or in_step(feature, -target)):
            yield Problem(
                f"{name} and the target {dataset.target} are functions of each other: sorted by the one, the "
                "rows are sorted by the other",
                (Reading(drop=(name,)),),
            )


def varied(column: Float32s) -> bool:
    """Whether enough rows have another value than the commonest."""
    return bool(len(column) - np.unique(column, return_counts=True)[1].max() >= FEWEST_EACH)


def in_step(one: Float32s, other: Float32s) -> bool:
    """Whether no two rows are in one order by `one` and in the other order by `other`."""
    sorted_by_one = other[np.lexsort((other, one))]
    return bool(np.all(sorted_by_one[1:] >= sorted_by_one[:-1]))
