"""How well a run predicts in its target's own units, beside the losses of normalised columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from db.schema import RunRow
from db.store import Store
from job.data.dataset import Dataset
from job.models.reference import BUILT_IN

PARTS = ("train", "test")
MEAN = "training mean"
"""what stands in for a model: predicting the mean of the training rows for every row"""
Losses = Mapping[str, tuple[float, float]]
"""by model the train and the test loss, in normalised target units squared"""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well some rows are predicted."""

    rmse: float
    """root mean squared error, in the target's units"""
    r2: float | None
    """1 - mean squared error / variance of the rows' targets; None without the data file, and where the
    targets are all the same"""

    @property
    def texts(self) -> tuple[str, str]:
        """The two as text."""
        return f"{self.rmse:#.5g}", "" if self.r2 is None else f"{self.r2:.4f}"

    def __str__(self) -> str:
        rmse, r2 = self.texts
        return f"{rmse} (R2 {r2})" if r2 else rmse


def last_losses(store: Store, run_id: int) -> dict[str, tuple[float, float]]:
    """The train and the test loss of each model's last epoch."""
    last = {model: store.history(run_id, model, count - 1) for model, count in store.progress(run_id).items()}
    return {model: (float(own.train_loss[-1]), float(own.test_loss[-1])) for model, own in last.items()}


def has_squared_errors(run: RunRow) -> bool:
    """Whether a run's losses are known to be mean squared errors of the target.

    They are for a linear regression whose first model is built in, as the others must agree with it.
    """
    return run.is_linear_regression and run.models[0].source in BUILT_IN


def loss_name(runs: Iterable[RunRow], unit: str = "") -> str:
    """What the losses of these runs are: a mean squared error, in `unit`, or whatever an own model has."""
    return f"mean squared error{unit}" if all(map(has_squared_errors, runs)) else "loss"


def fits(run: RunRow, losses: Losses, dataset: Dataset | None) -> dict[str, tuple[Fit, Fit]]:
    """Each model's fit of the train and of the test rows, and with a dataset that of MEAN.

    Empty if the losses are not known to be mean squared errors of the target.
    """
    if not losses or not has_squared_errors(run):
        return {}
    spread = run.dataset.target_maximum - run.dataset.target_minimum
    variances: list[float | None] = [None, None]
    if dataset is not None:
        train, test = (y.astype("float64") for y in (dataset.train_y, dataset.test_y))
        variance = float(train.var())
        variances = [variance, float(test.var())]
        losses = {**losses, MEAN: (variance, float(((test - train.mean()) ** 2).mean()))}

    def fit(loss: float, variance: float | None) -> Fit:
        return Fit(spread * math.sqrt(loss), 1 - loss / variance if variance else None)

    return {name: (fit(own[0], variances[0]), fit(own[1], variances[1])) for name, own in losses.items()}


def fit_table(found: Mapping[str, tuple[Fit, Fit]]) -> tuple[list[str], list[list[str]]]:
    """The fits as columns and rows of a table."""
    columns = ["", "train RMSE", "train R2", "test RMSE", "test R2"]
    return columns, [[name, *train.texts, *test.texts] for name, (train, test) in found.items()]


def remark(run: RunRow) -> str:
    """Why the fits lack R2 and MEAN where the dataset is not found."""
    return f"R2 and the {MEAN} need the data file, {run.dataset.name}, which is not found"
