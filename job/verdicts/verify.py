"""The verdicts on a run: integrity, parity, agreement with the notebook's numbers and with the exact path."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from db.errors import StoreError
from db.history import History
from db.integrity import Fault, first_fault
from db.schema import DatasetRow, RunRow, VerdictRow
from db.store import Store
from job.data.dataset import DEFAULT_DATA, Dataset
from job.verdicts.exact import exact_verdicts
from job.verdicts.gap import TOLERANCE, describe_beyond, difference, tolerance_for

REFERENCE = DEFAULT_DATA.parent / "reference_run.json"
DEFAULT_EPOCHS, DEFAULT_LEARNING_RATE, DEFAULT_SEED = 10_000, 0.01, 0
REFERENCE_MODELS = ("paddle", "python")
"""which the notebook trains"""


def verify(
    store: Store, run: RunRow, tolerance: float | None = None, dataset: Dataset | None = None
) -> list[VerdictRow]:
    """Judge a stored run; store the verdicts and return them.

    `tolerance` is for parity; None computes it from the dataset. A run of one model has no parity, one whose
    `dataset` is not given is not compared with the exact path, and a history that is not as it was written
    has only the verdict on its integrity. Raises StoreError if the run is downsampled, or if a model has no
    epoch yet.
    """
    trained = store.progress(run.id)
    empty = [model.name for model in run.models if model.name not in trained]
    if empty and run.status != "completed":
        raise StoreError(f"run {run.id} has no epoch of {' or '.join(empty)}, so nothing can be verified")
    data = run.dataset if dataset is None else dataset.row()
    histories: dict[str, History] = {}
    integrity = integrity_verdict(store, run, histories, data)
    verdicts = [integrity]
    if integrity.passed:
        first, *others = histories
        allowed = tolerance_for(data) if tolerance is None else tolerance
        verdicts += [
            parity_verdict(run, {first: histories[first], other: histories[other]}, allowed)
            for other in others
        ]
        if is_default_run(run) and run.status == "completed":
            verdicts.append(reference_verdict(run, histories))
        verdicts += exact_verdicts(run, histories, dataset)
    return [store.add_verdict(verdict) for verdict in verdicts]


def integrity_verdict(
    store: Store,
    run: RunRow,
    histories: dict[str, History] | None = None,
    data: DatasetRow | None = None,
) -> VerdictRow:
    """Whether the run's stored history is the one that was written; not stored.

    `histories` takes the history of each model that can be read as it was written. `data` is the dataset as
    its file has it, if that is known. Raises StoreError as `first_fault` does.
    """
    fault = first_fault(store, run, histories)
    if fault is None and data is not None and (changed := changed_statistics(run.dataset, data)):
        fault = Fault(changed)
    return VerdictRow(
        run_id=run.id,
        kind="integrity",
        passed=fault is None,
        first_epoch=None if fault is None else fault.first_epoch,
        tolerance=0.0,
        detail="every epoch is as it was written" if fault is None else fault.detail,
    )


def changed_statistics(stored: DatasetRow, data: DatasetRow) -> str:
    """The first column of a stored dataset whose statistics are not those of its file; empty if none is."""
    expected = statistics(data)
    for column, found in statistics(stored).items():
        in_file = expected.get(column, (np.nan,) * 3)
        # The sums of NumPy's versions may differ in the last digits.
        if not (np.abs(np.subtract(found, in_file)) <= 1e-9 * (in_file[1] - in_file[0])).all():
            values = " and ".join(", ".join(f"{value:.9g}" for value in each) for each in (found, in_file))
            return f"minimum, maximum and mean of {column} in the store and in the data file: {values}"
    return ""


def statistics(data: DatasetRow) -> dict[str, tuple[float, float, float]]:
    """Minimum, maximum and mean of the target and of each feature, by name."""
    target = {data.target: (data.target_minimum, data.target_maximum, data.target_mean)}
    return target | {each.name: (each.minimum, each.maximum, each.mean) for each in data.features}


def parity_verdict(run: RunRow, histories: dict[str, History], tolerance: float | None = None) -> VerdictRow:
    """Whether the second of two models agrees with the first on every epoch that the run should have."""
    against, model = histories
    allowed = tolerance_for(run.dataset) if tolerance is None else tolerance
    found = difference(histories[against], histories[model], run.parameter_names, (against, model), allowed)
    missing = found.missing
    if run.status != "completed":
        missing = None  # one model may be ahead when a run stops; that is no disagreement
    elif missing is None and found.epochs != run.epochs:
        missing = f"both models have {found.epochs:,} epochs of {run.epochs:,}"
    passed = found.beyond_epoch is None and missing is None
    word = "agree" if passed else "disagree"
    detail = (
        f"{against} and {model} {word} over {found.epochs:,} epochs: {found.describe()}, "
        f"tolerance {allowed:g}, relative to values beyond 1"
    )
    detail = "; ".join(filter(None, (detail, describe_beyond(found.beyond), missing)))
    return VerdictRow(
        run_id=run.id,
        kind="parity",
        passed=passed,
        first_epoch=found.beyond_epoch,
        worst=found.worst if np.isfinite(found.worst) else None,
        tolerance=allowed,
        detail=detail,
        model=model,
        against_model=against,
    )


def is_default_run(run: RunRow) -> bool:
    """Whether the run has the notebook's models, table, learning rate and seed, and at least its epochs."""
    table = hashlib.sha256(DEFAULT_DATA.read_bytes()).hexdigest()
    return (
        (run.dataset.sha256, run.dataset.target, run.dataset.reading) == (table, "MEDV", "{}")
        and (run.learning_rate, run.seed) == (DEFAULT_LEARNING_RATE, DEFAULT_SEED)
        and run.epochs >= DEFAULT_EPOCHS
        and {(name, name) for name in REFERENCE_MODELS}
        <= {(model.name, model.source) for model in run.models}
    )


def reference_verdict(run: RunRow, histories: dict[str, History]) -> VerdictRow:
    """Whether a default run has the notebook's printed losses and final parameters, within TOLERANCE."""
    reference = json.loads(REFERENCE.read_text())
    gaps: list[tuple[float, int, str]] = []
    for model in REFERENCE_MODELS:
        history = histories[model]
        row = {epoch: i for i, epoch in enumerate(history.epoch.tolist())}
        for printed in reference["losses"]:
            i = row.get(printed["epoch"])
            for part, losses in (("train", history.train_loss), ("test", history.test_loss)):
                stored = np.nan if i is None else float(losses[i])
                gaps.append((abs(stored - printed[model][part]), printed["epoch"], f"{model} {part} loss"))
        i = row.get(DEFAULT_EPOCHS - 1)
        parameters = reference["final_weights_and_bias"][model]
        nothing = [np.nan] * len(parameters)
        ours = nothing if i is None else history.parameters[i].tolist()
        for name, mine, theirs in zip(run.parameter_names, ours, parameters, strict=True):
            gaps.append((abs(mine - theirs), DEFAULT_EPOCHS - 1, f"{model} {name}"))
    worst, epoch, where = max(gaps, key=lambda gap: (np.isnan(gap[0]), gap[0]))
    beyond = [epoch for gap, epoch, _ in gaps if not gap <= TOLERANCE]
    agrees = "misses" if beyond else "has"
    return VerdictRow(
        run_id=run.id,
        kind="reference",
        passed=not beyond,
        first_epoch=min(beyond, default=None),
        worst=worst if np.isfinite(worst) else None,
        tolerance=TOLERANCE,
        detail=f"the run {agrees} the {len(gaps)} numbers that the notebook printed: largest gap {worst:.2g} "
        f"({where}, epoch {epoch}), tolerance {TOLERANCE:g}",
    )
