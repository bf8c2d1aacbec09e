"""Each of the numbers that the notebook printed is held against a default run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from db.history import History
from job.dataset import load
from job.verify import REFERENCE, reference_verdict
from tests.samples import run_row

PRINTED = json.loads(REFERENCE.read_text())
FEATURES = load().features


def notebooks(model: str) -> History:
    """A history with the printed numbers where there are some."""
    made = History.empty(10_000, 13)
    for losses in PRINTED["losses"]:
        made.train_loss[losses["epoch"]] = losses[model]["train"]
        made.test_loss[losses["epoch"]] = losses[model]["test"]
    *made.weights[-1], made.bias[-1] = PRINTED["final_weights_and_bias"][model]
    return made


@pytest.mark.parametrize("model", ["paddle", "python"])
def test_any_printed_number_that_is_missed_fails_the_verdict(model: str) -> None:
    run = run_row(epochs=10_000)
    run.dataset = load().row()
    histories = {name: notebooks(name) for name in ("paddle", "python")}
    verdict = reference_verdict(run, histories)
    assert verdict.passed
    numbers = 2 * (2 * len(PRINTED["losses"]) + 14)
    assert f"the {numbers} numbers" in verdict.detail
    own = histories[model]
    places: list[tuple[str, np.ndarray[tuple[int], np.dtype[np.float32]], int, int]] = [
        (f"{part} loss", losses, printed["epoch"], printed["epoch"])
        for part, losses in (("train", own.train_loss), ("test", own.test_loss))
        for printed in PRINTED["losses"]
    ]
    places += [(name, own.weights[-1], i, 9999) for i, name in enumerate(FEATURES)]
    places.append(("bias", own.bias, 9999, 9999))
    for name, values, i, epoch in places:
        right = values[i]
        values[i] += np.float32(1e-5)
        verdict = reference_verdict(run, histories)
        values[i] = right
        assert (verdict.passed, verdict.first_epoch) == (False, epoch)
        assert verdict.worst == pytest.approx(1e-5, rel=0.1)
        assert f"({model} {name}, epoch {epoch})" in verdict.detail
