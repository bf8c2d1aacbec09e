"""What docs/exact.md says of the default run is so."""

from __future__ import annotations

import numpy as np
import pytest

from db.history import History
from db.schema import RunRow, VerdictRow
from job.data.dataset import load
from job.verdicts.exact import exact_verdicts, path_of
from job.verdicts.path import ExactPath
from tests.conftest import ROOT
from tests.samples import model, regression
from tests.test_named_queries import turns

PAGE = " ".join((ROOT / "docs" / "exact.md").read_text().split())


@pytest.fixture(scope="module")
def run() -> RunRow:
    run = RunRow(id=1, epochs=10_000, status="completed", learning_rate=0.01, seed=0)
    return regression(run, load().row())


@pytest.fixture(scope="module")
def own() -> History:
    return model("python", load(), 0.01).advance(10_000)


@pytest.mark.thorough
def test_the_distance_of_the_default_run(run: RunRow, own: History) -> None:
    (verdict,) = exact_verdicts(run, {"python": own}, load())
    assert isinstance(verdict, VerdictRow)
    assert f"{verdict.worst:.2g}" == "3.2e-06"
    assert "near epoch 965, the distance is 3.2e-6 (in the test loss)" in PAGE
    assert "(test loss, epoch 96" in verdict.detail
    assert verdict.detail.endswith(", largest share of a bound 0.15")
    assert "at most 0.15 of a bound" in PAGE


def test_the_turns_of_the_default_run(run: RunRow, own: History) -> None:
    path = path_of(run, load())
    assert isinstance(path, ExactPath)
    off = []
    for i, column in enumerate(own.parameters.T.astype(np.float64)):
        for epoch, before, _ in turns(column, 0.001):
            found = path.turn(i, epoch, before)
            assert found is not None
            off.append(abs(found.epoch - epoch))
            if run.parameter_names[i] == "B":
                assert (found.epoch, round(found.short_half_life), round(found.long_half_life)) == (
                    185,
                    108,
                    2444,
                )
    assert (len(off), off.count(0), max(off)) == (11, 8, 3)
    assert "Of the 11 turns of the default run, the exact path has 8 at the same epoch" in PAGE
    assert "the others within 3 epochs. B turns at epoch 185." in PAGE
    assert "a mode that halves in 108 epochs, then one that halves in 2,444" in PAGE
