"""Drift: whether two runs have the same bits, and the differences by model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from db.epochs import blocks, require_whole
from db.errors import StoreError
from db.scheduled_runs import before_drift, night_before
from db.schema import RunRow, VerdictRow
from db.specification import Specification
from db.store import Store
from job.environment import Change, environment_changes
from job.verdicts.gap import Difference, difference


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run compared with another: the `drift` verdict, and what it rests on."""

    verdict: VerdictRow
    differences: dict[str, Difference]
    """by model, of the models that both have"""
    lacking: dict[str, int]
    """the run that lacks a model, by model"""
    specification: list[Change]
    """what differs in data, target, epochs, learning rate, seed and models"""
    environment: list[Change]

    def rows(self) -> list[tuple[str, int | None, float | None, str | None, int | None]]:
        """By model: first differing epoch, largest gap, where that is, and its units in the last place.

        None for each where the bits are the same.
        """
        return [
            (model, None, None, None, None)
            if each.first_epoch is None
            else (
                model,
                each.first_epoch,
                each.worst,
                f"{each.worst_value}, epoch {each.worst_epoch:,}",
                each.ulps,
            )
            for model, each in self.differences.items()
        ]

    def record(self) -> dict[str, Any]:
        """Everything but the verdict, as JSON has it. Without a difference, `value` and `epoch` are null."""
        return {
            "differences": [
                {
                    "model": model,
                    "epochs": each.epochs,
                    "first_epoch": each.first_epoch,
                    "largest_gap": each.worst if np.isfinite(each.worst) else None,
                    "value": each.worst_value if differs else None,
                    "epoch": each.worst_epoch if differs else None,
                    "units_in_the_last_place": each.ulps,
                    "missing": each.missing,
                }
                for model, each in self.differences.items()
                for differs in [each.first_epoch is not None]
            ],
            "lacking": [{"model": model, "run": run} for model, run in self.lacking.items()],
            "specification_changes": [change._asdict() for change in self.specification],
            "environment_changes": [change._asdict() for change in self.environment],
        }


MOST_CHANGES = 8
"""changes of the environment that a verdict names; `job compare` lists them all"""
COLUMNS = ("model", "first differing epoch", "largest gap", "where", "units")
"""of `Comparison.rows`; the units are units in the last place"""


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
    known = [digests(store, each) for each in (run, against)]
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


def digests(store: Store, run: RunRow) -> defaultdict[str, set[tuple[int, str | None]]]:
    """The last epoch and the digest of each block of a run, by model; none of a model without digests."""
    stored = store.read(lambda session: blocks(session, run.id))
    return defaultdict(set, {model: {each for each in own if each[1]} for model, own in stored.items()})


def specification_changes(run: RunRow, against: RunRow) -> list[Change]:
    """The differences between two runs' specifications; empty if there is none."""

    def facts(each: RunRow) -> dict[str, tuple[object, str]]:
        """By name: what is compared, and how it is shown."""
        data = each.dataset
        compared = [model.compared for model in Specification.of(each).models]
        return {
            "data": (data.sha256, f"{data.name} (sha256 {data.sha256[:12]})"),
            "target": (data.target, data.target),
            "reading options": (data.reading, data.reading),
            "epochs": (each.epochs, f"{each.epochs:,}"),
            "learning rate": (each.learning_rate, repr(each.learning_rate)),
            "seed": (each.seed, str(each.seed)),
            "models": (compared, ", ".join(model.described for model in each.models)),
        }

    was = facts(against)
    return [
        Change(name, was[name][1], shown)
        for name, (compared, shown) in facts(run).items()
        if compared != was[name][0]
    ]


def compare(store: Store, run: RunRow, against: RunRow, tolerance: float = 0.0) -> Comparison:
    """`judge` two runs, and store the verdict if they have the same specification; else it has no id.

    Runs of different specifications are expected to differ, which is not drift.
    """
    found = judge(store, run, against, tolerance)
    if found.specification:
        return found
    return replace(found, verdict=store.add_verdict(found.verdict))


def judge(store: Store, run: RunRow, against: RunRow, tolerance: float = 0.0) -> Comparison:
    """Judge whether `run` has the history of `against`; the verdict is not stored.

    Tolerance 0 requires the same epochs with the same bits. If a run lacks a model, the verdict fails. Raises
    StoreError as `differences` does.
    """
    found = differences(store, run, against, tolerance)
    # NaN counts as the worst gap.
    worst = max(found.values(), key=lambda each: np.inf if np.isnan(each.worst) else each.worst)
    # At tolerance 0 even +0 and -0 differ, although their gap is 0.
    exact = tolerance == 0
    lacking = {
        model: lacks.id
        for has, lacks in ((run, against), (against, run))
        for model in sorted(store.progress(has.id).keys() - store.progress(lacks.id).keys())
    }
    passed = not lacking and all(
        each.same_bits if exact else each.within_tolerance for each in found.values()
    )
    firsts = [each.first_epoch if exact else each.beyond_epoch for each in found.values()]
    specification = specification_changes(run, against)
    environment = environment_changes(against.environment, run.environment)
    words = [
        *([f"specification: {in_words(specification)}"] if specification else []),
        *(
            f"{model}: {each.describe()}" + (f"; {each.missing}" if each.missing else "")
            for model, each in found.items()
        ),
        *(f"{model}: run {lacks} lacks it" for model, lacks in lacking.items()),
        *([f"tolerance {tolerance:g}"] if tolerance else []),
        f"environment: {in_words(environment, MOST_CHANGES) or 'the same'}",
    ]
    verdict = VerdictRow(
        run_id=run.id,
        kind="drift",
        against_run_id=against.id,
        passed=passed,
        first_epoch=min((epoch for epoch in firsts if epoch is not None), default=None),
        worst=worst.worst if np.isfinite(worst.worst) else None,
        tolerance=tolerance,
        detail=f"against run {against.id}: {'; '.join(words)}",
    )
    return Comparison(verdict, found, lacking, specification, environment)


def in_words(changes: Sequence[Change], most: int | None = None) -> str:
    """Changes as text, a few words each; of more than `most`, the number of the others."""
    named = list(map(str, changes[:most]))
    return "; ".join(named + [f"{len(changes) - len(named)} more"] * (len(named) < len(changes)))


def judge_drift(store: Store, run: RunRow) -> VerdictRow | None:
    """Judge whether a completed scheduled run has the bits of the night before; store the verdict.

    That is the last completed scheduled run of the specification; None if there is none. If the bits are
    those from before a drift, the verdict names the run that had them.
    """
    last = night_before(store, run)
    if last is None:
        return None
    verdict = judge(store, run, last).verdict
    if not verdict.passed:
        earlier = before_drift(store, run)
        if earlier is not None and judge(store, run, earlier).verdict.passed:
            verdict.detail = f"back to the bits of run {earlier.id}; {verdict.detail}"
    return store.add_verdict(verdict)
