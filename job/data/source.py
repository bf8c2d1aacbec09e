"""Finds the data file that a run was trained on; the store has only its hash."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from db.history import Float64s, State
from db.schema import RunRow
from job.data.content import sha256_of
from job.data.dataset import DEFAULT_DATA, Dataset, load
from job.data.reading import Reading
from job.errors import DataError


def source(run: RunRow, path: Path | None = None) -> Dataset | None:
    """The dataset of a run, from `path`, or else from the first of three files that has the run's hash.

    These are the housing table, a file of the run's name in the current directory, and JOB_DATA. The file is
    read with the run's options. None if no file has the hash. Raises DataError if `path` is given and has
    another hash.
    """
    found = source_file(run, path)
    return None if found is None else load(found, run.dataset.target, Reading.of(run.dataset.reading))


def required_source(run: RunRow, path: Path | None = None) -> Dataset:
    """The dataset of a run, as `source` finds it. Raises DataError if it is not found, too."""
    dataset = source(run, path)
    if dataset is None:
        raise DataError(
            f"run {run.id} was trained on {run.dataset.name} (sha256 {run.dataset.sha256[:12]}...), "
            "which is not found; name its file with --data"
        )
    return dataset


def source_file(run: RunRow, path: Path | None = None) -> Path | None:
    """The file that `source` reads. Raises DataError likewise."""
    stored = run.dataset
    if path is not None:
        if (sha256 := sha256_of(path)) != stored.sha256:
            raise DataError(
                f"{path}: not what run {run.id} was trained on: that is {stored.name} with sha256 "
                f"{stored.sha256[:12]}..., this has {sha256[:12]}..."
            )
        return path
    for candidate in (DEFAULT_DATA, Path(stored.name), Path(os.environ.get("JOB_DATA", ""))):
        with suppress(DataError):  # missing, unreadable, or not a regular file
            if sha256_of(candidate) == stored.sha256:
                return candidate
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
