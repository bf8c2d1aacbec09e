"""A step names the operation in which two models part, and tells it from those that only inherit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.errors import StoreError
from db.history import State
from db.store import Store
from job.data.dataset import Dataset, load
from job.errors import ModelError
from job.models.base import LinearRegression, Model
from job.models.loading import load_models
from job.replay.state import Replay, prepare
from job.replay.step import BEFORE, Stepped, against, difference, step
from job.training import Settings, start, train_and_judge
from tests.conftest import ROOT
from tests.samples import run_row, write_csv

SOURCE = (ROOT / "job" / "models" / "python.py").read_text()
LOSS = 'np.array(mean_squared_error(inputs["error"]))'
AFTER = """np.array(mean_squared_error(
            self.train_x @ (weights - self.learning_rate * (self.train_x.T @ (
                inputs["error"] * np.float32(2 / len(self.train_x))))) + bias - self.train_y))"""
UPDATE = "self.parameters - self.learning_rate * packed"
MISTAKES = {
    "the factor 2/r is missing": (" * np.float32(2 / len(self.train_x))\n", "\n", "2/r error"),
    "1/r instead of 2/r": (
        "np.float32(2 / len(self.train_x))\n",
        "np.float32(1 / len(self.train_x))\n",
        "2/r error",
    ),
    "the loss after the update": (LOSS, AFTER, "train loss"),
    "the sum of squares for a loss": (LOSS, 'np.array((inputs["error"] ** 2).sum())', "train loss"),
    "the bias's gradient from the errors' sum": (
        'np.array(inputs["2/r error"].sum())',
        'np.array(inputs["error"].sum())',
        "gradient of the bias",
    ),
    "momentum": (UPDATE, f"{UPDATE} - np.float32(0.9) * (self.parameters * np.float32(0.01))", "parameters"),
    "float64": ("self.train_x @ weights\n", "self.train_x.astype(np.float64) @ weights\n", "X w"),
    "the wrong sign": (UPDATE, UPDATE.replace("-", "+"), "parameters"),
    "another learning rate": (UPDATE, "self.parameters - np.float32(0.03) * packed", "parameters"),
    "no bias": ('inputs["X w"] + bias', 'inputs["X w"] + 0', "prediction"),
    "no bias on the test rows": (
        "self.test_x @ weights + bias\n",
        "self.test_x @ weights\n",
        "test prediction",
    ),
    "the bias is not updated": (
        UPDATE,
        f"{UPDATE} * np.append(np.ones(len(self.parameters) - 1, np.float32), np.float32(0))",
        "parameters",
    ),
    "the error's sign": (
        'inputs["prediction"] - self.train_y',
        'self.train_y - inputs["prediction"]',
        "error",
    ),
    "the gradient of half of the rows": (
        'self.train_x.T @ inputs["2/r error"]',
        'self.train_x[::2].T @ inputs["2/r error"][::2]',
        "gradient of the weights",
    ),
}


def own(path: Path, text: str) -> type[Model]:
    path.write_text(text)
    (found,) = load_models([f"{path}:PythonModel"]).values()
    return found


def stepped(replay: Replay, name: str, state: State) -> Stepped:
    return Stepped(name, state, replay.trace(name, state), "", "")


def compared(models: dict[str, type[Model]], data: Dataset, learning_rate: float, *states: State) -> Stepped:
    """The second model against the first, each at its state."""
    replay = Replay(None, run_row(learning_rate=learning_rate), data, models)  # type: ignore[arg-type]
    first, second = (stepped(replay, *each) for each in zip(models, states, strict=True))
    return against(replay, second, first)


@pytest.fixture
def biased(small: Dataset) -> State:
    start = LinearRegression.initial(small, 1)
    start.parameters[-1] = 0.5  # a bias that matters: normalised columns leave it almost nothing to learn
    return start


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_named_at_its_operation(
    mistake: str, small: Dataset, biased: State, tmp_path: Path
) -> None:
    old, new, operation = MISTAKES[mistake]
    assert SOURCE.count(old) == 1
    wrong = own(tmp_path / "wrong.py", SOURCE.replace(old, new))
    for first in ("python", "paddle"):
        models = load_models([first]) | {"wrong": wrong}
        found = compared(models, small, 0.1, biased, biased)
        # Paddle adds in another order, so there each sum has a rounding difference besides the mistake.
        named = [each.operation for each in found.own if each.types or each.gap > 2e-6]
        assert named[0] == operation
        assert found.crosswise is not None
        wrong_ones = [each.operation for each in found.crosswise if each.types or each.gap > 2e-6]
        assert wrong_ones == [operation], first
        if first == "python":
            assert [each.operation for each in found.crosswise if each.differs] == [operation]


def test_the_gap_of_the_default_run_is_the_order_of_summation() -> None:
    data = load()
    begin = LinearRegression.initial(data, 0)
    found = compared(load_models(["paddle", "python"]), data, 0.01, begin, begin)
    first = next(each for each in found.own if each.differs)
    assert (first.operation, first.differing, first.values, first.ulps) == ("X w", 207, 404, 24)
    assert found.crosswise is not None
    by_itself = {each.operation: (each.differing, each.values) for each in found.crosswise if each.differs}
    assert by_itself == {
        "X w": (207, 404),
        "test prediction": (63, 102),
        "gradient of the weights": (9, 13),
        "gradient of the bias": (1, 1),
    }


def test_crosswise_begins_with_the_first_models_parameters(small: Dataset, biased: State) -> None:
    other = State(biased.parameters + np.float32(1), 0)
    models = load_models(["python"]) | {"again": load_models(["python"])["python"]}
    found = compared(models, small, 0.1, biased, other)
    assert found.own[0].operation == BEFORE
    assert found.own[0].differing == len(biased.parameters)
    assert all(each.differs for each in found.own)
    assert found.crosswise is not None
    assert not any(each.differs for each in found.crosswise)


def test_a_difference_is_counted_in_values_and_in_units_in_the_last_place() -> None:
    one = np.array([1, 2, 0.1], np.float32)
    found = difference("x", one, np.array([1, np.nextafter(np.float32(2), 3), 0.1], np.float32))
    assert (found.differing, found.values, found.ulps, found.types) == (1, 3, 1, "")
    assert found.gap == 2.0**-22
    assert found.differs
    assert not difference("x", one, one).differs
    assert difference("x", one, one.astype(np.float64)).types == "float64, not float32"
    assert difference("x", np.zeros(1, np.float32), np.array([-0.0], np.float32)).differing == 1
    assert np.isnan(difference("x", one, np.array([1, np.nan, 0.1], np.float32)).gap)


# -- with a store -----------------------------------------------------------------------------------


def trained(url: str, data: Path, *models: str, epochs: int = 5) -> Store:
    store = Store(url)
    settings = Settings(load(data), epochs=epochs, learning_rate=0.1, models=models)
    train_and_judge(start(store, settings), settings.dataset)
    return store


def test_a_step_has_the_stored_bits_at_every_epoch(database_url: str, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "made.csv")
    with trained(database_url, data, "paddle", "python") as store:
        replay = prepare(store, store.run(), data)
        for epoch in range(5):
            paddle, python = step(replay, epoch)
            for each in (paddle, python):
                row = store.history(1, each.model, epoch, epoch)
                assert (each.unlike, each.trace_unlike) == ("", "")
                assert each.after.tobytes() == row.parameters[0].tobytes()
                assert each.trace["train loss"].ravel().tobytes() == row.train_loss.tobytes()
                before = (
                    replay.start() if epoch == 0 else store.history(1, each.model, epoch - 1, epoch - 1).state
                )
                assert each.before.parameters.tobytes() == before.parameters.tobytes()
                assert each.gradient is not None
                assert np.allclose(each.after, each.before.parameters - 0.1 * each.gradient, atol=1e-6)
            assert paddle.own == ()
            assert [each.operation for each in python.own] == [BEFORE, *python.trace]


CHANGES = """
from job.models.python import PythonModel

class Changes(PythonModel):
    def trace(self, given=None):
        values = super().trace(given)
        if given is not None:
            for value in given.values():
                value += 1
        return values
"""


def test_a_trace_that_changes_what_it_is_given_leaves_the_first_models_values(
    small: Dataset, biased: State, tmp_path: Path
) -> None:
    file = tmp_path / "own.py"
    file.write_text(CHANGES)
    models = load_models(["python", f"{file}:Changes"])
    replay = Replay(None, run_row(learning_rate=0.1), small, models)  # type: ignore[arg-type]
    first, second = (stepped(replay, name, biased) for name in models)
    values = {name: value.copy() for name, value in first.trace.items()}
    found = against(replay, second, first)
    assert all(value.tobytes() == first.trace[name].tobytes() for name, value in values.items())
    assert found.crosswise is not None
    assert not any(each.differs for each in found.crosswise)


BARE = """
from job.models.python import PythonModel

class Bare(PythonModel):
    def trace(self):
        values = super().trace()
        return {name: values[name] for name in (KEEP)}

class Longer(PythonModel):
    def trace(self, given=None):
        values = super().trace()
        values["error"] = values["error"][:-1]
        return values

class Fails(PythonModel):
    def trace(self, given=None):
        print("one", 1 / 0)

class Halved(PythonModel):
    def trace(self, given=None):
        values = super().trace()
        values["parameters"] = values["parameters"][1:]
        return values

class Flat(PythonModel):
    def trace(self, given=None):
        return {name: value.ravel() for name, value in super().trace(given).items()}

class Renamed(PythonModel):
    def trace(self, given=None):
        values = super().trace(given)
        if given is not None:
            values["Error"] = values.pop("error")
        return values

class Ragged(PythonModel):
    def trace(self, given=None):
        return super().trace(given) | {"rows": [[1.0], [1.0, 2.0]]}

class RaggedLoss(PythonModel):
    def trace(self, given=None):
        return super().trace(given) | {"train loss": [[1.0], [1.0, 2.0]]}

class Empty(PythonModel):
    def trace(self, given=None):
        return super().trace(given) | {"rows": []}

class NoGradient(PythonModel):
    def trace(self):
        print("not an answer")
        values = super().trace()
        del values["gradient of the bias"]
        return values
"""


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (("python", "{}:Bare"), "python has 24 values of 'X w', own has no value"),
        (("{}:Bare", "python"), "python has 24 values of 'X w', own has no value"),
        (("python", "{}:Longer"), "python has 24 values of 'error', own has 23 values"),
        (
            ("{}:Fails",),
            "the trace of own for epoch 1 fails: ZeroDivisionError: division by zero (own.py, line ",
        ),
        (("python", "{}:Flat"), "has 24 values of 'error', own given python's values has 576 values"),
        (("python", "{}:Renamed"), "24 values of 'error', own given python's values has no value"),
        (("{}:Ragged",), "the trace of own for epoch 1: 'rows' is not an array"),
        (("{}:RaggedLoss",), "the trace of own for epoch 1: 'train loss' is not an array"),
        (("{}:Empty",), "the trace of own for epoch 1: 'rows' has no values"),
        (("{}:Halved",), "the trace of own for epoch 1: 'parameters' has 3 values, not 4"),
    ],
)
def test_traces_that_cannot_be_compared_are_refused(
    models: tuple[str, ...], said: str, migrated_url: str, tmp_path: Path
) -> None:
    data, file = write_csv(tmp_path / "made.csv"), tmp_path / "own.py"
    file.write_text(BARE.replace("KEEP", "'train loss', 'test loss', 'parameters'"))
    with trained(migrated_url, data, *(each.format(file) for each in models)) as store:
        replay = prepare(store, store.run(), data)
        with pytest.raises(ModelError) as refused:
            step(replay, 1)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_trace_without_given_or_gradient_is_shown_as_far_as_it_goes(
    migrated_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, file = write_csv(tmp_path / "made.csv"), tmp_path / "own.py"
    file.write_text(BARE)
    models = (f"one={file}:NoGradient", f"two={file}:NoGradient")
    with trained(migrated_url, data, *models) as store:
        one, two = step(prepare(store, store.run(), data), 1)
    assert (one.gradient, two.crosswise) == (None, None)
    assert not any(each.differs for each in two.own)
    assert "not an answer" not in capsys.readouterr().out


WITHOUT = """
from db.history import History
from job.models.base import LinearRegression

class Still(LinearRegression):
    def advance(self, epochs):
        history = History.empty(epochs, len(self.parameters), self.epoch)
        history.train_loss[:] = history.test_loss[:] = 1
        history.parameters[:] = self.parameters
        history.trained_at[:] = 0
        self.epoch += epochs
        return history
"""


def test_a_model_without_a_trace_is_named(migrated_url: str, tmp_path: Path) -> None:
    data, file = write_csv(tmp_path / "made.csv"), tmp_path / "still.py"
    file.write_text(WITHOUT)
    with trained(migrated_url, data, "python", f"{file}:Still") as store:
        replay: Any = prepare(store, store.run(), data)
        with pytest.raises(ModelError, match="the model still has no trace, which `job step` needs"):
            step(replay, 1)
        with pytest.raises(StoreError, match="run 1 has no epoch 5 of python: its epochs are 0 to 4"):
            step(replay, 5)
