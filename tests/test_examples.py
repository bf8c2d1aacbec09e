"""The models of examples/: each pair agrees, each can be resumed, and docs/models.md says how well."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest

from db.history import State
from docs.model_gaps import CLASSES, EPOCHS, PAIRS, find, gaps, trained
from job.data.dataset import DEFAULT_DATA, Dataset, load
from job.models.base import Model
from job.models.contract import check, train
from job.verdicts.gap import difference
from tests.conftest import ROOT

FILES = sorted((ROOT / "examples").glob("*.py"))
PAGE = (ROOT / "docs" / "models.md").read_text()


@pytest.fixture(scope="module")
def housing() -> Dataset:
    return load()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_short_and_in_the_tables(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 75
    assert f"`{path.name}`" in PAGE
    assert f"`{path.name}`" in (ROOT / "examples" / "README.md").read_text()
    assert path.stem in CLASSES or path.stem == "torch_linear"


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_models_of_a_pair_have_the_same_names_and_start(
    first: str, second: str, housing: Dataset
) -> None:
    a, b = find(first), find(second)
    assert a.parameter_names(housing) == b.parameter_names(housing)
    assert np.array_equal(a.initial(housing, 5).parameters, b.initial(housing, 5).parameters)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_pair_agrees_over_2000_epochs_as_well_as_the_page_says(first: str, second: str) -> None:
    found = difference(trained(first), trained(second), find(first).parameter_names(load()), (first, second))
    assert found.epochs == EPOCHS == 2000
    assert found.within_tolerance, found.describe()
    files = [f"`{name}`" if name == "python" else f"`{name}.py`" for name in (first, second)]
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {files[0]}, {files[1]} |"))
    stated = float(re.findall(r"\d\.\de-\d+", row)[0])
    # NumPy's exp and tanh have other last bits on another CPU, hence a range.
    assert stated / 3 < found.worst < 3 * stated


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_an_example_learns_and_goes_on_from_a_row_to_the_same_bits(name: str, housing: Dataset) -> None:
    whole = trained(name)
    rest = find(name)(housing, 0.01, 0, whole[:1234].state).advance(EPOCHS - 1234)
    assert rest.same_bits(whole[1234:])
    assert (whole.train_loss[100::100] <= whole.train_loss[:-100:100]).all() or name == "minibatch_numpy"
    assert whole.train_loss[-1] < 0.7 * whole.train_loss[0]


@pytest.mark.slow
def test_at_a_large_learning_rate_the_networks_part_as_the_page_says() -> None:
    assert "At learning rate 0.5 it exceeds 2e-6 in epoch 905" in " ".join(PAGE.split())
    gap = gaps(trained("mlp_numpy", 0.5), trained("mlp_paddle", 0.5))
    assert 500 < np.argmax(gap > 2e-6) < 1500


@pytest.mark.slow
def test_momentum_is_faster_than_none_and_mini_batches_too() -> None:
    assert trained("momentum_numpy").train_loss[-1] < 0.5 * trained("python").train_loss[-1]
    assert trained("minibatch_numpy").train_loss[-1] < 0.5 * trained("python").train_loss[-1]


@pytest.mark.parametrize("name", ["lists_linear", "momentum_numpy", "minibatch_numpy"])
def test_the_losses_of_a_regression_are_those_of_all_rows_before_the_epoch(
    name: str, housing: Dataset
) -> None:
    start = find(name).initial(housing, 0)
    found = find(name)(housing, 0.01, 0, start).advance(1)
    *w, b = find("python").initial(housing, 0).parameters.astype(float)
    for x, y, loss in (
        (housing.train_x, housing.train_y, found.train_loss),
        (housing.test_x, housing.test_y, found.test_loss),
    ):
        assert loss[0] == pytest.approx(np.mean((x @ np.array(w) + b - y[:, 0]) ** 2), rel=1e-5)


def test_the_order_of_mini_batches_comes_from_seed_and_epoch(housing: Dataset) -> None:
    model = find("minibatch_numpy")
    start = model.initial(housing, 0)

    def after_one(seed: int, epoch: int) -> bytes:
        return model(housing, 0.01, seed, State(start.parameters, epoch)).advance(1).parameters.tobytes()

    assert len({after_one(seed, epoch) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_the_labels_are_those_of_the_tables_own_values(housing: Dataset) -> None:
    target = np.loadtxt(DEFAULT_DATA)[:, -1]
    above = target > np.median(target[:404])
    made = find("logistic_numpy")(housing, 0.01, 0, find("logistic_numpy").initial(housing, 0))
    assert np.array_equal(made.train_y[:, 0], above[:404])  # type: ignore[attr-defined]
    assert np.array_equal(made.test_y[:, 0], above[404:])  # type: ignore[attr-defined]


def test_the_page_begins_with_the_example_that_is_tested() -> None:
    block = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)[0]
    assert block == (ROOT / "examples" / "lists_linear.py").read_text()


def test_the_trace_of_the_page_is_that_of_the_example() -> None:
    block = re.findall(r"```python\n(def trace.+?)```", PAGE, re.DOTALL)[0]
    assert indent(block, "    ") in (ROOT / "examples" / "momentum_numpy.py").read_text()


@pytest.mark.thorough
def test_a_wrong_sign_keeps_the_contract_and_fails_parity_by_the_bias(housing: Dataset) -> None:
    text = (ROOT / "examples" / "lists_linear.py").read_text()
    wrong = text.replace("b = b - step * sum(error)", "b = b + step * sum(error)")
    assert wrong != text
    names: dict[str, type[Model]] = {}
    exec(compile(wrong, "mine.py", "exec"), names)
    assert [clause for clause in check(names["Mine"], housing, 20) if not clause.passed] == []
    one, other = (train(model, housing, 300, 0.01, 0) for model in (find("python"), names["Mine"]))
    found = difference(one, other, find("python").parameter_names(housing), ("python", "mine"))
    assert found.beyond_epoch == 282
    assert "the gap exceeds the tolerance in epoch 282" in " ".join(PAGE.split())
    gap = np.abs(one.parameters - other.parameters).max(axis=0)
    assert np.flatnonzero(gap > 2e-6).tolist() == [len(housing.features)], "the bias alone"


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_its_example_says_what_is_missing() -> None:
    text = (ROOT / "examples" / "torch_linear.py").read_text()
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'torch'$"):
        exec(compile(text, "torch_linear.py", "exec"), {})
