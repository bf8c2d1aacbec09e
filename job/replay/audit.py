"""The `audit` verdict: whether stored epochs are what the models make of the epochs before them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from db.epochs import require_whole
from db.errors import StoreError
from db.schema import RunRow, VerdictRow
from job.environment import environment, environment_at, environment_changes
from job.models.bits import first_unlike
from job.models.reference import reference_of, sources
from job.replay.state import Replay
from job.training.loop import BLOCK_VALUES

STRETCH = 500
"""most consecutive epochs that one instance of a model replays; then the next begins at the stored row"""
ALONE = 3
"""the first epochs that are replayed in an instance each"""
OnTried = Callable[[int], None]
"""told after each stretch of epochs how many were tried"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The epochs of each model that an audit tries."""

    epochs: dict[str, int]
    """how many the model should have"""
    chosen: dict[str, list[int]]
    """those to try, in order"""
    seed: int | None
    """what they were drawn with; None if they are all"""


@dataclass(frozen=True, slots=True)
class Broken:
    """An epoch that was not reproduced."""

    epoch: int
    what: str
    gap: float | None = None
    """the largest gap in this epoch, NaN if a value is not finite; None if it is not stored"""


def draw(replay: Replay, sample: int | None, seed: int) -> Plan:
    """Draw `sample` epochs of each model, epoch 0 always among them; all if it is None.

    The first epoch that a completed run lacks is tried too, and found missing.

    Raises StoreError if the run is downsampled or has no epoch.
    """
    run = replay.run
    require_whole([run], "audited")
    progress = replay.store.progress(run.id)
    if not progress:
        raise StoreError(f"run {run.id} has no epoch yet, so nothing can be audited")
    epochs, chosen = {}, {}
    for name in replay.models:
        stored = progress.get(name, 0)
        epochs[name] = run.epochs if run.status == "completed" else stored
        chosen[name] = sampled(stored, sample, seed) + [stored] * (stored < epochs[name])
    everything = sample is None or all(sample >= progress.get(name, 0) for name in replay.models)
    return Plan(epochs, chosen, None if everything else seed)


def judge(replay: Replay, plan: Plan, on_tried: OnTried = lambda count: None) -> VerdictRow:
    """Replay the epochs that were drawn; the verdict, which is not stored.

    Of a model that does not reproduce an epoch, later epochs are not tried.
    """
    tried: dict[str, int] = {}
    broken: dict[str, Broken] = {}
    for name, epochs in plan.chosen.items():
        tried[name], found = audit(replay, name, epochs, on_tried)
        if found:
            broken[name] = found
    return verdict(replay, plan, tried, broken)


def sampled(epochs: int, sample: int | None, seed: int) -> list[int]:
    """Epoch 0 and further ones of so many epochs, `sample` in all, in order; all if it is None."""
    if sample is None or sample >= epochs:
        return list(range(epochs))
    return [0, *sorted(random.Random(seed).sample(range(1, epochs), sample - 1))]  # noqa: S311 - no secret


def stretches(epochs: list[int], longest: int) -> Iterator[range]:
    """The epochs as ranges of consecutive ones; the first `ALONE` are alone.

    A model that keeps state outside its parameters would reproduce its epochs in one instance, but not alone.
    """
    first = 0
    for i in range(1, len(epochs) + 1):
        if i == len(epochs) or i <= ALONE or epochs[i] != epochs[i - 1] + 1 or i - first == longest:
            yield range(epochs[first], epochs[i - 1] + 1)
            first = i


def audit(replay: Replay, name: str, epochs: list[int], on_tried: OnTried) -> tuple[int, Broken | None]:
    """Replay epochs of one model up to the first that is not reproduced: how many, and that one if any."""
    longest = min(STRETCH, 1 + BLOCK_VALUES // len(replay.run.parameter_names))
    tried = 0
    for stretch in stretches(epochs, longest):
        broken = replayed(replay, name, stretch)
        if broken:
            return tried + max(1, broken.epoch - stretch.start + 1), broken
        tried += len(stretch)
        on_tried(len(stretch))
    return tried, None


def replayed(replay: Replay, name: str, stretch: range) -> Broken | None:
    """Replay consecutive epochs of a model from the row before; the first that is not the stored one."""
    needed = range(max(stretch.start - 1, 0), stretch.stop)
    stored = replay.history(name, needed.start, needed.stop - 1)
    missing = np.setdiff1d(needed, stored.epoch)
    if len(missing):
        return Broken(int(missing[0]), "it is not stored")
    before = stored[:1].state if stretch.start else replay.start()
    expected = stored[-len(stretch) :]
    made = replay.advance(name, before, len(stretch))
    unlike = first_unlike(made, expected, replay.run.parameter_names)
    if unlike is None:
        return None
    row = unlike.epoch - stretch.start
    gap = np.abs(made.values[row].astype(np.float64) - expected.values[row]).max()
    return Broken(unlike.epoch, unlike.replayed, float(gap))


def verdict(replay: Replay, plan: Plan, tried: dict[str, int], broken: dict[str, Broken]) -> VerdictRow:
    """The verdict in words."""
    run = replay.run
    counts = ", ".join(
        f"{count:,} of {plan.epochs[name]:,} epochs of {name}" for name, count in tried.items()
    )
    how = "" if plan.seed is None else f", drawn with --seed {plan.seed}; epoch 0 is always tried"
    made = VerdictRow(run_id=run.id, kind="audit", passed=not broken, tolerance=0.0)
    if not broken:
        made.detail = f"replayed {counts}: all have the stored bits{how}"
        return made
    name, first = min(broken.items(), key=lambda each: each[1].epoch)
    made.first_epoch = first.epoch
    made.worst = first.gap if first.gap is not None and np.isfinite(first.gap) else None
    others = "".join(f", {other} from epoch {each.epoch}" for other, each in broken.items() if other != name)
    made.detail = (
        f"not reproduced: {name} from epoch {first.epoch}{others}; "
        f"epoch {first.epoch} of {name}: {first.what}; "
        f"replayed {counts}{how}; {reason(replay.run, name, first)}"
    )
    return made


def reason(run: RunRow, name: str, first: Broken) -> str:
    """What may be the reason that an epoch of a model was not reproduced."""
    if first.gap is None:
        return "no environment explains this: its row was removed from the store"
    models = sources([reference_of(each) for each in run.models])
    changes = environment_changes(environment_at(run.environment, first.epoch, name), environment(models))
    if changes:
        told = "; ".join(map(str, changes))
        return f"this environment is another than the run's, which may be the reason: {told}"
    return (
        "this environment is the run's, so the stored values, settings or models were changed, "
        f"or {name} keeps state outside its parameters (`job models check` finds that)"
    )
