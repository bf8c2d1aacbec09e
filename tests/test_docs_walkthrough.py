"""The code in docs/walkthrough.md is the code that runs, and its claims about data and run are true."""

from __future__ import annotations

import re
from textwrap import dedent

import numpy as np
import pytest

from db.history import History, State
from db.store import Store
from job.cli import run
from job.computed import Course, overfitting, turning_points
from job.data.dataset import DEFAULT_DATA, load
from job.data.source import predictions
from job.replay.state import prepare
from job.replay.step import step
from job.stretches import rounding
from job.training import Settings, start, train_and_judge
from tests.conftest import ROOT
from tests.samples import model, regression, run_row

PAGE = (ROOT / "docs" / "walkthrough.md").read_text()
SOURCES = [path.read_text() for path in sorted((ROOT / "job" / "models").glob("*.py"))]
BLOCKS = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)


def stands_in(block: str, source: str) -> bool:
    """Whether the lines of a block follow each other in a source, at any indentation."""
    wanted, lines = block.rstrip().splitlines(), source.splitlines()
    return any(
        dedent("\n".join(lines[i : i + len(wanted)])) == "\n".join(wanted)
        for i in range(len(lines) - len(wanted) + 1)
    )


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_code_stands_so_in_the_source(block: str) -> None:
    assert any(stands_in(block, source) for source in SOURCES)


def test_there_is_code_of_both_models() -> None:
    assert len(BLOCKS) >= 5


def says(words: str) -> bool:
    """Whether the page has this sentence, across any line ends."""
    return words in " ".join(PAGE.split())


@pytest.fixture(scope="module")
def default_run() -> list[History]:
    dataset = load()
    return [model(name, dataset, 0.01).advance(10_000) for name in ("paddle", "python")]


def test_what_the_page_says_of_the_data_is_so() -> None:
    table = np.loadtxt(DEFAULT_DATA)
    train, test = table[: len(table) * 8 // 10], table[len(table) * 8 // 10 :]
    assert says(f"{len(table)} census tracts, {table.shape[1] - 1} features, one target")
    assert says(f"With {table.shape[1]} parameters and {len(train)} rows")
    assert says(f"worth {test[:, 13].mean():.1f} on the mean, not {train[:, 13].mean():.1f}")
    assert says("crime is five times as high")
    assert 5 < test[:, 0].mean() / train[:, 0].mean() < 6
    assert says("none lies at the river")
    assert (train[:, 3].max(), test[:, 3].max()) == (1, 0)
    assert says(f"The largest true value is {test[:, 13].max():.1f}")
    assert says(f"the {(train[:, 13] == table[:, 13].max()).sum()} tracts at {table[:, 13].max():.0f}")


@pytest.mark.slow
def test_what_the_page_says_of_the_losses_is_so(default_run: list[History]) -> None:
    for history in default_run:
        train, test = history.train_loss, history.test_loss
        low = int(test[:300].argmin())
        high = low + int(test[low:2000].argmax())
        assert says("The train loss only falls. The test loss starts lower")
        assert (np.diff(train) <= 0).all()
        assert test[0] < train[0]
        assert says(f"falls to {test[low]:.2f} by epoch {low}, rises to")
        assert says(f"rises to {test[high]:.2f} by epoch {high}")
        assert says("and then only falls")
        assert (np.diff(test[high:]) <= 0).all()
        assert says("With 14 parameters and 404 rows the test loss is best at the last epoch")
        assert test.argmin() == 9999


@pytest.mark.slow
def test_what_the_page_says_of_overfitting_is_so(default_run: list[History]) -> None:
    dataset = load()
    table = np.loadtxt(DEFAULT_DATA)
    train, test = table[:404], table[404:]
    run_of = regression(run_row(learning_rate=0.01, epochs=10_000), dataset.row())
    for history in default_run:
        course = Course(run_of, {"python": history}, dataset)
        stretch, end = overfitting(course, rounding(run_of.dataset))
        assert says(f"The default run overfits from epoch {stretch.from_epoch} to {stretch.to_epoch}.")
        *most, last = stretch.parameters or []
        assert says(f"{', '.join(most)} and {last} turn in these epochs, and TAX at epoch 533.")
        assert ("TAX", 533) in [(turn.parameter, turn.epoch) for turn in turning_points(course)]
        assert end.from_epoch == end.to_epoch == 9999
        assert says("so the run does not end overfitted")

        guessed = [
            predictions(dataset, State(history.parameters[epoch - 1], epoch))[1]
            for epoch in (stretch.from_epoch, stretch.to_epoch)
        ]
        growth = (guessed[1] - test[:, 13]) ** 2 - (guessed[0] - test[:, 13]) ** 2
        rows = np.argsort(-growth)[: stretch.rows_for_half]
        assert growth[rows[:-1]].sum() < growth.sum() / 2 <= growth[rows].sum()
        assert says(f"Half of the rise comes from {len(rows)} of the {len(test)} test rows.")
        behind = test[rows]
        assert says(
            f"All {len(rows)} have RAD 24, TAX 666 and a B of at most {np.ceil(behind[:, 11].max()):.0f}"
        )
        assert {*behind[:, 8]} == {24}
        assert {*behind[:, 9]} == {666}
        shares = [100 * (part[:, 8] == 24).mean() for part in (test, train)]
        assert says(
            "{:.0f} % of the test rows have RAD 24, but {:.0f} % of the training rows".format(*shares)
        )
        assert says(f"whose B is {train[:, 11].mean():.0f} on the mean")
        means = [values[rows].mean() for values in guessed]
        assert says("for the {} rows go from {:.0f} to {:.0f} on the mean".format(len(rows), *means))
        assert says(f"their true values are {behind[:, 13].mean():.1f}.")


@pytest.mark.slow
def test_what_the_page_says_of_the_gap_is_so(default_run: list[History]) -> None:
    paddle, python = (
        np.column_stack([h.train_loss, h.test_loss, h.parameters]).astype(float) for h in default_run
    )
    gap = np.abs(paddle - python).max(axis=1) / 2e-6
    assert says("At its largest, within the first ten epochs, it is a quarter of the tolerance")
    assert gap.argmax() < 10
    assert gap.max() == pytest.approx(0.25, abs=0.02)
    assert says("The bound is four times the largest gap of the default run")
    assert says("later it is nearly always below a tenth")
    assert (gap[10:] < 0.1).mean() > 0.99
    assert says("the bound is sqrt(r) 2⁻²⁴ if that is more than 2e-6, from 1,126 rows on")
    assert 1125**0.5 * 2**-24 < 2e-6 < 1126**0.5 * 2**-24


# -- the epochs that README and the walkthrough take apart -------------------------------------------


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the first 416 epochs of the default run."""
    url = f"sqlite:///{tmp_path_factory.mktemp('steps') / 'ledger.db'}"
    with Store(url, create=True) as store:
        train_and_judge(start(store, Settings(load(), epochs=416)), load())
    return url


@pytest.mark.sqlite
@pytest.mark.parametrize(("page", "epoch"), [("README.md", 0), ("docs/walkthrough.md", 323)])
def test_a_step_prints_what_the_page_shows(
    page: str, epoch: int, steps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["step", "1", str(epoch), "--database-url", steps]) == 0
    printed = capsys.readouterr().out
    _, shown = (ROOT / page).read_text().split(f"$ job step 1 {epoch}\n```\n", 1)
    blocks = [block for block in re.findall(r"```text\n(.+?)```", shown, re.DOTALL) if "operation " in block]
    parts = [part for block in blocks for part in re.split(r"^\.\.\.\n", block, flags=re.MULTILINE) if part]
    assert len(parts) >= 3
    for part in parts:
        assert part in printed


def test_given_paddles_values_only_sums_of_many_terms_differ(steps: str) -> None:
    sums = {"X w", "test prediction", "gradient of the weights", "gradient of the bias"}
    losses = {"train loss", "test loss"}
    with Store(steps) as store:
        replay = prepare(store, store.run(1))
        found = [step(replay, epoch)[1].crosswise or () for epoch in (*range(0, 330, 5), 415)]
    differing = [{each.operation for each in epoch if each.differs} for epoch in found]
    assert set.union(*differing) == sums | losses
    assert says("in many others they differ too, as the train loss in epoch 415")
    assert "train loss" in differing[-1]
    for loss in losses:
        assert 0.2 < np.mean([loss in epoch for epoch in differing]) < 0.8


def test_what_the_page_says_of_epoch_323_is_so(steps: str) -> None:
    data = load()
    with Store(steps) as store:
        replay = prepare(store, store.run(1))
        traces = {epoch: step(replay, epoch)[0].trace for epoch in (0, 323, 324)}
        old, new = store.history(1, "paddle", 322, 323).parameters[:, 1].astype(float)
    error = traces[323]["error"][:, 0].astype(float)
    terms = data.train_x[:, 1] * traces[323]["2/r error"][:, 0].astype(float)
    without = np.loadtxt(DEFAULT_DATA)[: len(error), 1] == 0
    shifted = data.train_x[without, 1][0]
    assert says(
        f"The {without.sum()} tracts without such land (ZN is 0, which is {shifted:.3f} after the shift)"
    )
    assert says(f"are predicted {error[without].mean():.3f} too high on the mean")
    assert says(f"and together contribute {terms[without].sum():.5f}.")
    assert says(f"The other {(~without).sum()} tracts are predicted {-error[~without].mean():.3f} too low")
    assert says(f"too low and contribute {terms[~without].sum():+.5f}.")
    zn = {epoch: float(trace["gradient of the weights"][1, 0]) for epoch, trace in traces.items()}
    assert zn[323] == pytest.approx(terms.sum(), abs=1e-8)
    assert says(f"nearly cancel and leave {zn[323]:.6f}.")
    assert says(f"by 0.01 times the gradient: {new - old:.2g}".replace("e-06", "e-6"))
    assert says(f"the gradient is {zn[324]:+.5f}, and ZN begins to fall")
    assert says(f"In epoch 0 its gradient was {zn[0]:.2f}")
    assert says(f"which is {-0.01 * zn[323]:.3e}.".replace("e-06", "e-6"))
    assert says(f"the update is {(new - old) * 2**24:.0f} of these steps")
    assert (new - old) * 2**24 == 19
