"""Drift: whether two runs have the same bits, and the differences by model."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from sqlalchemy.orm import Session

from db.blocks import blocks
from db.downsampled import require_whole
from db.errors import StoreError
from db.scheduled_runs import baseline, before_drift
from db.schema import RunRow, VerdictRow
from db.specification import Specification
from db.store import Store
from job.environment import environment_changes
from job.verdicts.gap import Difference, difference


def differences(store: Store, run: RunRow, against: RunRow, tolerance: float = 0.0) -> dict[str, Difference]:
    """The differences between two runs by model, over the epochs and models that both have.

    Raises StoreError if a run is compared with itself, if a run is downsampled, if the parameters differ, and
    if no model has an epoch in both.
    """
    if run.id == against.id:
        raise StoreError(f"run {run.id} compared with itself says nothing; name two runs")
    require_whole([run, against], "compared")
    parameters, others = run.parameter_names, against.parameter_names
    if parameters != others:
        raise StoreError(
            f"runs {run.id} and {against.id} cannot be compared: their parameters differ "
            f"({', '.join(parameters)}; {', '.join(others)})"
        )
    theirs = store.progress(against.id)
    models = [model for model in store.progress(run.id) if model in theirs]
    if not models:
        raise StoreError(
            f"runs {run.id} and {against.id} have no epoch in common, so nothing can be compared"
        )
    names = (f"run {run.id}", f"run {against.id}")
    known = [store.read(lambda session, each=each: digests(session, each.id)) for each in (run, against)]  # type: ignore[misc]
    found = {}
    for model in models:
        # The digests of two blocks that end at the same epoch are equal only if all bits up to it are.
        same = 1 + max((epoch for epoch, _ in known[0][model] & known[1][model]), default=-1)
        one, other = (store.history(each.id, model, same) for each in (run, against))
        try:
            found[model] = difference(one, other, parameters, names, tolerance, same)
        except ValueError:
            raise StoreError(
                f"runs {run.id} and {against.id} cannot be compared: they have no epoch of {model} in common"
            ) from None
    return found


def digests(session: Session, run_id: int) -> defaultdict[str, set[tuple[int, str]]]:
    """The last epoch and the digest of each block of a run, by model."""
    found = defaultdict(set)
    for model, stored in blocks(session, run_id).items():
        found[model] = {(epoch, digest) for epoch, digest in stored if digest}
    return found


def specification_changes(run: RunRow, against: RunRow) -> list[str]:
    """The differences between two runs' specifications, a few words each; empty if there is none."""

    def facts(each: RunRow) -> dict[str, str]:
        data = each.dataset
        return {
            "data": f"{data.name} (sha256 {data.sha256[:12]})",
            "target": data.target,
            "reading options": data.reading,
            "epochs": f"{each.epochs:,}",
            "learning rate": repr(each.learning_rate),
            "seed": str(each.seed),
            "models": ", ".join(model.described for model in each.models),
        }

    if Specification.of(run) == Specification.of(against):
        return []
    was = facts(against)
    return [f"{name} {now}, was {was[name]}" for name, now in facts(run).items() if now != was[name]]


def compare(
    store: Store, run: RunRow, against: RunRow, tolerance: float = 0.0
) -> tuple[VerdictRow, list[str]]:
    """`judge` two runs, and store the verdict if they have the same specification; else it has no id.

    Runs of different specifications are expected to differ, which is not drift.
    """
    verdict, lines = judge(store, run, against, tolerance)
    if Specification.of(run) == Specification.of(against):
        verdict = store.add_verdict(verdict)
    return verdict, lines


def judge(store: Store, run: RunRow, against: RunRow, tolerance: float = 0.0) -> tuple[VerdictRow, list[str]]:
    """Judge whether `run` has the history of `against`: the `drift` verdict, not stored, and its details.

    The details are lines: the differences between the specifications, if any; each model; the tolerance, if
    not 0; the differences between the environments. Tolerance 0 requires the same epochs with the same bits.
    If a run lacks a model, the verdict fails. Raises StoreError as `differences` does.
    """
    found = differences(store, run, against, tolerance)
    # NaN counts as the worst gap.
    worst = max(found.values(), key=lambda each: np.inf if np.isnan(each.worst) else each.worst)
    # At tolerance 0 even +0 and -0 differ, although their gap is 0.
    exact = tolerance == 0
    lacking = [
        f"{model}: run {lacks.id} lacks it"
        for has, lacks in ((run, against), (against, run))
        for model in sorted(store.progress(has.id).keys() - store.progress(lacks.id).keys())
    ]
    passed = not lacking and all(
        each.same_bits if exact else each.within_tolerance for each in found.values()
    )
    firsts = [each.first_epoch if exact else each.beyond_epoch for each in found.values()]
    lines = [f"specification: {'; '.join(other)}"] if (other := specification_changes(run, against)) else []
    lines += [
        f"{model}: {each.describe()}" + (f"; {each.missing}" if each.missing else "")
        for model, each in found.items()
    ]
    lines += lacking
    if tolerance:
        lines.append(f"tolerance {tolerance:g}")
    changes = environment_changes(against.environment, run.environment)
    lines.append(f"environment: {'; '.join(changes) or 'the same'}")
    verdict = VerdictRow(
        run_id=run.id,
        kind="drift",
        against_run_id=against.id,
        passed=passed,
        first_epoch=min((epoch for epoch in firsts if epoch is not None), default=None),
        worst=worst.worst if np.isfinite(worst.worst) else None,
        tolerance=tolerance,
        detail=f"against run {against.id}: {'; '.join(lines)}",
    )
    return verdict, lines


def judge_drift(store: Store, run: RunRow) -> VerdictRow | None:
    """Judge whether a completed scheduled run has the bits of its baseline; store the verdict.

    The baseline is the last completed scheduled run of the specification; None if there is none. If the bits
    are those from before a drift, the verdict names the run that had them.
    """
    last = baseline(store, run)
    if last is None:
        return None
    verdict, _ = judge(store, run, last)
    if not verdict.passed:
        earlier = before_drift(store, run)
        if earlier is not None and judge(store, run, earlier)[0].passed:
            verdict.detail = f"back to the bits of run {earlier.id}; {verdict.detail}"
    return store.add_verdict(verdict)
