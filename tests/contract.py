"""What the tests of the contract share: its clauses' names, and a sound model to derive broken ones from."""

from __future__ import annotations

from collections.abc import Callable

from db.history import History, State
from job.data.dataset import Dataset
from job.models.base import LinearRegression, Model
from job.models.contract import Clause, check
from job.models.python import PythonModel

EPOCHS = 40
NAMES = "The parameters have unique names, always the same"
START = "The start has a float32 value for each name, epoch 0, and the same bits for the same seed"
COUNT = "Exactly the epochs asked for are trained, numbered on from the state's"
TYPES = "A history of n epochs has float32 losses [n] and parameters [n, p]"
INPUTS = "The dataset and the state that a model is given stay as they are"
FINITE = "Every value is finite, until the run diverges"
STAYS = "A history does not change after it is returned"
CALLS = "Cutting epochs into other calls changes no bit"
ROWS = "Going on from any stored row, in a new instance, changes no bit"
LOSSES = "The losses of an epoch belong to the parameters before its update"
INSTANCES = "The same seed gives the same bits, beside another instance too"
TRACE = "The trace gives the values of `advance`, and leaves the model as it is"
PROCESS = "The same seed gives the same bits in another process"
ALL = [NAMES, START, COUNT, TYPES, INPUTS, FINITE, STAYS, CALLS, ROWS, LOSSES, INSTANCES]


def broken(model: type[Model], dataset: Dataset, again: Callable[[], History] | None = None) -> list[Clause]:
    clauses = list(check(model, dataset, EPOCHS, 0.1, again=again))
    assert all(clause.passed == (clause.detail == "") for clause in clauses)
    assert not any("\n" in clause.detail for clause in clauses)
    return [clause for clause in clauses if not clause.passed]


def only(model: type[Model], dataset: Dataset) -> tuple[str, str]:
    (clause,) = broken(model, dataset)
    return clause.name, clause.detail


class OneByOne(LinearRegression):
    """The regression with an epoch for a method, so that a broken model is a few lines."""

    def advance(self, epochs: int) -> History:
        return History.concatenate([self.one() for _ in range(epochs)])

    def one(self) -> History:
        model = PythonModel(self.dataset, float(self.learning_rate), 0, State(self.parameters, self.epoch))
        history = model.advance(1)
        self.parameters, self.epoch = history.state
        return history

    def __init__(self, dataset: Dataset, learning_rate: float, seed: int, state: State) -> None:
        super().__init__(dataset, learning_rate, seed, state)
        self.dataset = dataset
