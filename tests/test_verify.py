"""The parity and reference verdicts: what passes, what fails, and how it is described."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from db.errors import StoreError
from db.history import History
from db.schema import ModelRow, RunRow
from db.store import Store
from job.data.dataset import load
from job.verdicts.verify import (
    changed_statistics,
    is_default_run,
    parity_verdict,
    reference_verdict,
    verify,
)
from tests.conftest import ROOT
from tests.samples import dataset_row, execute, history, regression, run_row

PRINTED = json.loads((ROOT / "data" / "reference_run.json").read_text())
MODELS = ("paddle", "python")
DATASET = load()


def default_run(**changes: Any) -> RunRow:
    values: dict[str, Any] = {
        "epochs": 10_000,
        "learning_rate": 0.01,
        "seed": 0,
        "status": "completed",
    } | changes
    row = DATASET.row()
    row.sha256, row.target = values.pop("sha256", row.sha256), values.pop("target", row.target)
    return regression(RunRow(id=1, **values), row)


def as_printed() -> dict[str, History]:
    """Histories with every number that the notebook printed, and nothing else."""
    made = {}
    for model in MODELS:
        own = History.empty(11, 14)
        own.epoch[:] = [*(row["epoch"] for row in PRINTED["losses"]), 9999]
        own.train_loss[:10] = [row[model]["train"] for row in PRINTED["losses"]]
        own.test_loss[:10] = [row[model]["test"] for row in PRINTED["losses"]]
        own.parameters[10] = PRINTED["final_weights_and_bias"][model]
        made[model] = own
    return made


def places() -> Iterator[tuple[str, str, Any, str, int]]:
    """(model, field, index, its name in words, epoch) of each printed number."""
    features = [feature.name for feature in DATASET.row().features]
    for model in MODELS:
        for i in range(10):
            for part in ("train", "test"):
                yield model, f"{part}_loss", i, f"{model} {part} loss", PRINTED["losses"][i]["epoch"]
        for j, name in enumerate([*features, "bias"]):
            yield model, "parameters", (10, j), f"{model} {name}", 9999


def test_the_printed_numbers_are_the_printed_numbers() -> None:
    assert len([*places()]) == 68
    verdict = reference_verdict(default_run(), as_printed())
    assert (verdict.kind, verdict.passed, verdict.first_epoch, verdict.tolerance) == (
        "reference",
        True,
        None,
        2e-6,
    )
    assert verdict.worst is not None
    assert verdict.worst < 2e-7  # float32 of decimals below 2
    assert "the run has the 68 numbers that the notebook printed" in verdict.detail


@pytest.mark.parametrize(("model", "field", "index", "name", "epoch"), [*places()])
def test_each_printed_number_counts(model: str, field: str, index: Any, name: str, epoch: int) -> None:
    for far, passed in ((1e-6, True), (4e-6, False), (-4e-6, False), (np.nan, False)):
        found = as_printed()
        getattr(found[model], field)[index] += np.float32(far)
        verdict = reference_verdict(default_run(), found)
        assert verdict.passed is passed
        assert f"({name}, epoch {epoch}), tolerance 2e-06" in verdict.detail
        assert verdict.first_epoch == (None if passed else epoch)
        assert verdict.detail.startswith(f"the run {'has' if passed else 'misses'} the 68 numbers")
        if np.isfinite(far):
            assert verdict.worst == pytest.approx(abs(far), abs=2e-7)
        else:
            assert verdict.worst is None


def test_the_first_of_the_printed_epochs_that_is_missed_is_named() -> None:
    found = as_printed()
    found["python"].test_loss[7] += 1
    found["paddle"].train_loss[4] += 2
    found["paddle"].parameters[10, -1] += 3
    verdict = reference_verdict(default_run(), found)
    assert verdict.first_epoch == 4000
    assert verdict.worst == pytest.approx(3)


@pytest.mark.parametrize("gone", [0, 10])
def test_a_printed_epoch_that_the_run_lacks_is_missed(gone: int) -> None:
    found = as_printed()
    rows = [i for i in range(11) if i != gone]
    parts = [found["python"][i : i + 1] for i in rows]
    found["python"] = History.concatenate(parts)
    verdict = reference_verdict(default_run(), found)
    assert (verdict.passed, verdict.worst) == (False, None)
    assert verdict.first_epoch == [*as_printed()["python"].epoch][gone]


@pytest.mark.parametrize(
    ("changes", "is_default"),
    [
        ({}, True),
        ({"epochs": 20_000}, True),
        ({"epochs": 9_999}, False),
        ({"learning_rate": 0.02}, False),
        ({"seed": 1}, False),
        ({"target": "RM"}, False),
        ({"sha256": hashlib.sha256(b"other").hexdigest()}, False),
    ],
)
def test_the_default_run_is_the_notebooks(changes: dict[str, Any], is_default: bool) -> None:
    assert is_default_run(default_run(**changes)) is is_default


def test_a_model_of_ones_own_is_not_the_notebooks_whatever_its_name() -> None:
    run = default_run()
    run.models.append(ModelRow(position=2, name="mine", source="/mine.py:Mine"))
    assert is_default_run(run)
    run.models[1].source = "/mine.py:Mine"
    assert not is_default_run(run)


def test_statistics_may_differ_in_their_last_digits_in_relation_to_the_range() -> None:
    for low, high in ((1e6, 1e6 + 1), (0.0, 1e-6)):
        stored, data = dataset_row(), dataset_row()
        for row in (stored, data):
            row.features[1].minimum, row.features[1].maximum, row.features[1].mean = low, high, high
        for share, found in ((5e-10, ""), (1e-6, "minimum, maximum and mean of x1 in the store and in")):
            stored.features[1].mean = high - share * (high - low)
            assert changed_statistics(stored, data)[: len(found) or 99] == found


def test_a_column_that_the_file_does_not_have_is_found() -> None:
    stored, data = dataset_row(), dataset_row()
    stored.features[1].name = "other"
    found = changed_statistics(stored, data)
    assert found.startswith("minimum, maximum and mean of other in the store and in the data file: ")
    assert found.endswith(" and nan, nan, nan")


def judged(status: str = "completed", **histories: History) -> Any:
    run = run_row(epochs=5, status=status)
    return parity_verdict(run, {name: histories[name] for name in MODELS})


def test_parity_says_how_far_apart_and_from_where() -> None:
    other = history(5)
    other.parameters[3, 1] += 1
    other.parameters[2, -1] = np.nextafter(other.parameters[2, -1], np.float32(9))
    verdict = judged(paddle=history(5), python=other)
    assert (verdict.run_id, verdict.kind, verdict.passed, verdict.first_epoch) == (1, "parity", False, 3)
    assert (verdict.worst, verdict.tolerance) == (pytest.approx(1), 2e-6)
    assert (
        "paddle and python disagree over 5 epochs: first differing epoch 2, largest gap 1 (x1,"
        in verdict.detail
    )
    assert verdict.detail.endswith(
        "tolerance 2e-06, relative to values beyond 1; beyond it from epoch 3 on: x1 from 3"
    )


def test_the_tolerance_is_that_of_the_training_rows_or_the_one_given() -> None:
    run, same = run_row(epochs=5, status="completed"), dict.fromkeys(MODELS, history(5))
    run.dataset.train_rows, run.dataset.test_rows = 160_000, 40_000
    assert parity_verdict(run, same).tolerance == 400 * 2**-24
    assert parity_verdict(run, same, 0.0).tolerance == 0
    assert parity_verdict(run, same, 0.5).tolerance == 0.5


def test_parity_of_numbers_that_are_not_finite_has_no_worst_gap() -> None:
    other = history(5)
    other.parameters[1, -1] = np.nan
    verdict = judged(paddle=history(5), python=other)
    assert (verdict.passed, verdict.worst, verdict.first_epoch) == (False, None, 1)


@pytest.mark.parametrize("ahead", MODELS)
def test_one_model_may_be_ahead_where_a_run_stopped_but_not_at_its_end(ahead: str) -> None:
    histories = {name: history(5)[: 5 if name == ahead else 3] for name in MODELS}
    verdict = judged("interrupted", **histories)
    assert verdict.passed
    assert verdict.detail.startswith("paddle and python agree over 3 epochs: the same bits")
    verdict = judged("completed", **histories)
    assert (verdict.passed, verdict.first_epoch) == (False, None)
    behind = next(name for name in MODELS if name != ahead)
    assert verdict.detail.endswith(f"; {behind} lacks 2 epochs, the first of them 3")


def test_epochs_that_both_models_lack_are_missed() -> None:
    verdict = judged(paddle=history(4), python=history(4))
    assert not verdict.passed
    assert verdict.detail.endswith("; both models have 4 epochs of 5")


def test_what_cannot_be_verified_is_refused(store: Store) -> None:
    writer = store.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={})
    with pytest.raises(StoreError, match="run 1 has no epoch of paddle or python, so nothing"):
        verify(store, store.run(1))
    writer.append("python", history(5))
    with pytest.raises(StoreError, match="run 1 has no epoch of paddle, so nothing"):
        verify(store, store.run(1))
    writer.append("paddle", history(5))
    verdicts = verify(store, store.run(1))
    assert [(each.kind, each.passed) for each in verdicts] == [("integrity", True), ("parity", True)]
    execute(store, "UPDATE runs SET thinned_every = 2")
    with pytest.raises(StoreError, match="only a whole run can be verified"):
        verify(store, store.run(1))


def test_a_default_run_is_held_against_the_notebook_once_it_is_complete(store: Store) -> None:
    writer = store.start_run(DATASET.row(), epochs=10_000, learning_rate=0.01, seed=0, environment={})
    for model, own in as_printed().items():
        for values in (own.train_loss, own.test_loss, own.parameters):
            values[~np.isfinite(values) | (np.abs(values) > 9) | (np.abs(values) < 1e-30)] = 0
        own.train_loss[10] = own.test_loss[10] = 0
        own.parameters[:10] = 0
        with_every_epoch = History.empty(10_000, 14)
        for values in (with_every_epoch.train_loss, with_every_epoch.test_loss, with_every_epoch.parameters):
            values[:] = 0
        with_every_epoch.train_loss[own.epoch] = own.train_loss
        with_every_epoch.test_loss[own.epoch] = own.test_loss
        with_every_epoch.parameters[own.epoch] = own.parameters
        with_every_epoch.trained_at[:] = 0
        writer.append(model, with_every_epoch)
    assert [verdict.kind for verdict in verify(store, store.run(1))] == ["integrity", "parity"]
    writer.finish("completed")
    integrity, parity, reference = verify(store, store.run(1))
    assert integrity.passed
    assert (parity.kind, parity.passed) == ("parity", True)
    assert (reference.kind, reference.passed) == ("reference", True)
