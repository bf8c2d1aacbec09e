"""Correct models agree on tables of every size, faulty ones on none: more rows round more."""

from __future__ import annotations

import numpy as np
import pytest

from db.history import Float32s, History
from db.schema import DatasetRow, RunRow
from job.data.dataset import Dataset, split
from job.models.python import PythonModel
from job.verdicts.gap import tolerance_for
from job.verdicts.verify import parity_verdict
from tests.samples import model, regression, table_of

ROWS = (404, 20_000, 200_000)
"""training rows"""
KINDS = ("uniform", "normal", "zeros and ones")
EPOCHS = 60
"""within these, the largest gap of 500 epochs occurs, to a few percent"""


def made(rows: int, kind: str) -> Dataset:
    random, size = np.random.RandomState(1), rows * 5 // 4
    if kind == "zeros and ones":  # rows repeat, so rounding errors add up
        x = random.randint(0, 2, (size, 3)).astype(np.float64)
        target = x @ np.arange(1, 4)
    else:
        x = random.rand(size, 12) if kind == "uniform" else random.randn(size, 12)
        target = x @ np.arange(1, 13) + 0.1 * random.randn(size)
    names = (*(f"x{i}" for i in range(x.shape[1])), "y")
    return split(table_of(np.column_stack([x, target]), names))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((rows, kind), marks=[pytest.mark.thorough] * (rows > ROWS[0]))
        for rows in ROWS
        for kind in KINDS
    ],
)
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return made(*request.param)


def judge(dataset: Dataset, other: type[PythonModel], epochs: int) -> tuple[bool, float, str]:
    state = PythonModel.initial(dataset, 1)
    run = RunRow(id=1, epochs=epochs, status="completed", learning_rate=0.01, seed=1)
    regression(run, dataset.row())
    paddle = model("paddle", dataset, 0.01, state).advance(epochs)
    python = other(dataset, 0.01, 1, state).advance(epochs)
    verdict = parity_verdict(run, {"paddle": paddle, "python": python})
    return verdict.passed, verdict.tolerance, verdict.detail


class WrongSign(PythonModel):
    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.learning_rate = -self.learning_rate


class WrongFactor(PythonModel):
    """1/n instead of 2/n."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.learning_rate = self.learning_rate / np.float32(2)


class LossAfterUpdate(PythonModel):
    def advance(self, epochs: int) -> History:
        found = super().advance(epochs)

        def loss(x: Float32s, y: Float32s, i: int) -> float:
            return float(np.mean((x @ found.parameters[i, :-1] + found.parameters[i, -1] - y[:, 0]) ** 2))

        for i in range(epochs):
            found.train_loss[i] = loss(self.train_x, self.train_y, i)
            found.test_loss[i] = loss(self.test_x, self.test_y, i)
        return found


def test_honest_models_agree(dataset: Dataset) -> None:
    passed, tolerance, detail = judge(dataset, PythonModel, EPOCHS)
    assert passed, detail
    assert f", tolerance {tolerance:g}, relative to values beyond 1" in detail


@pytest.mark.parametrize("mistake", [WrongSign, WrongFactor, LossAfterUpdate])
def test_a_planted_mistake_is_found(dataset: Dataset, mistake: type[PythonModel]) -> None:
    passed, _, detail = judge(dataset, mistake, 5)
    assert not passed, detail


@pytest.mark.parametrize(
    ("rows", "sum_error", "tolerance"),
    [
        (4, None, 2e-6),
        (404, 6e-7, 2e-6),
        (1_125, None, 2e-6),
        (16_384, None, 2**-17),
        (160_000, 1e-5, 400 * 2**-24),
        (404, 3e-6, 3e-6),
        (160_000, 1e-3, 1e-3),
    ],
)
def test_the_tolerance_grows_with_the_rows_and_with_the_error_of_their_sum(
    rows: int, sum_error: float | None, tolerance: float
) -> None:
    assert tolerance_for(DatasetRow(train_rows=rows, sum_error=sum_error)) == tolerance


def test_the_error_of_a_sum_is_that_of_adding_one_by_one() -> None:
    dataset = made(404, "zeros and ones")
    random = np.random.RandomState(0)
    errors = []
    tables = [(dataset.train_x, dataset.train_y), (dataset.test_x, dataset.test_y)]
    for rows, targets in tables * 32:
        parameters = random.randn(4).astype(np.float32)
        total, exact = np.float32(0), 0.0
        for x, y in zip(rows, targets[:, 0], strict=True):
            square = ((x[None] @ parameters[:3, None])[0, 0] + parameters[3] - y) ** 2
            total, exact = total + square, exact + float(square)
        errors.append(abs(float(total) / exact - 1))
    assert dataset.sum_error() == pytest.approx(max(errors), rel=0.2)
