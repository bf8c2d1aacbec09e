"""Finds the data file that a run was trained on; the store has only its hash."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from db.files import read_regular
from db.history import Float64s, State
from db.schema import RunRow
from job.data.dataset import DEFAULT_DATA, Dataset, load
from job.errors import DataError


def source(run: RunRow, path: Path | None = None) -> Dataset | None:
    """The dataset of a run, from `path`, or else from the first of three files that has the run's hash.

    These are the housing table, a file of the run's name in the current directory, and JOB_DATA. None if no
    file has the hash. Raises DataError if `path` is given and has another hash.
    """
    if path is not None:
        dataset = load(path, run.dataset.target)
        if dataset.sha256 != run.dataset.sha256:
            raise DataError(
                f"{path}: not what run {run.id} was trained on: that is {run.dataset.name} with sha256 "
                f"{run.dataset.sha256[:12]}..., this has {dataset.sha256[:12]}..."
            )
        return dataset
    for candidate in (DEFAULT_DATA, Path(run.dataset.name), Path(os.environ.get("JOB_DATA", ""))):
        with suppress(OSError):  # missing, unreadable, or not a regular file
            if hashlib.sha256(read_regular(candidate)).hexdigest() == run.dataset.sha256:
                return load(candidate, run.dataset.target)
    return None


def least_squares(dataset: Dataset) -> float:
    """The lowest train loss that any weights and bias can have, in normalised target units squared.

    Least squares in closed form (Hastie, Tibshirani, Friedman: The Elements of Statistical Learning, 2009,
    3.2), by NumPy's singular value decomposition, in float64.
    """
    x = np.column_stack([dataset.train_x, np.ones(len(dataset.train_x))]).astype(np.float64)
    y = dataset.train_y.astype(np.float64)
    solution = np.linalg.lstsq(x, y, rcond=None)[0]
    return float(np.mean((x @ solution - y) ** 2))


def predictions(dataset: Dataset, state: State) -> tuple[Float64s, Float64s]:
    """True and predicted targets of the test rows, float64 [s] each, in the table's units.

    `state` is that of a linear regression.
    """
    low, high, mean = dataset.minimum[-1], dataset.maximum[-1], dataset.mean[-1]
    *weights, bias = state.parameters.astype(np.float64)
    predicted = dataset.test_x.astype(np.float64) @ weights + bias
    return mean + (high - low) * dataset.test_y[:, 0].astype(np.float64), mean + (high - low) * predicted
