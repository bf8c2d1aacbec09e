"""The `audit` verdict: whether stored epochs are what the models make of the epochs before them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from db.downsampled import require_whole
from db.errors import StoreError
from db.history import History
from db.schema import VerdictRow
from db.sources import ModelSource
from job.environment import environment, environment_changes
from job.models.bits import first_unlike, rows
from job.replay.state import Replay
from job.training.loop import BLOCK_EPOCHS, BLOCK_VALUES

OnTried = Callable[[str, int, int], None]
"""told after each stretch of epochs: a model, how many of its epochs were tried, and how many will be"""


@dataclass(slots=True)
class Audit:
    """What an audit has found."""

    tried: dict[str, int] = field(default_factory=dict)
    """epochs by model, with the one that was not reproduced"""
    epochs: dict[str, int] = field(default_factory=dict)
    """epochs that each model should have"""
    broken: dict[str, Broken] = field(default_factory=dict)
    """of each model the first epoch that was not reproduced, if any"""


@dataclass(frozen=True, slots=True)
class Broken:
    """An epoch that was not reproduced."""

    epoch: int
    what: str
    gap: float | None
    """the largest gap in this epoch; None if it is not stored"""


def judge(replay: Replay, sample: int | None, seed: int, on_tried: OnTried) -> VerdictRow:
    """Replay `sample` epochs of each model, or all if it is None; the verdict, which is not stored.

    The epochs are drawn with `seed`; epoch 0 is always one of them. Of a model that does not reproduce an
    epoch, later epochs are not tried. Raises StoreError if the run is downsampled or has no epoch.
    """
    run = replay.run
    require_whole([run], "audited")
    progress = replay.store.progress(run.id)
    found = Audit()
    for name in replay.models:
        found.epochs[name] = run.epochs if run.status == "completed" else progress.get(name, 0)
    if not any(progress.values()):
        raise StoreError(f"run {run.id} has no epoch yet, so nothing can be audited")
    for name in replay.models:
        audit(replay, name, chosen(found.epochs[name], sample, seed), found, on_tried)
    return verdict(replay, found, sample, seed)


def chosen(epochs: int, sample: int | None, seed: int) -> list[int]:
    """Epoch 0 and further ones of so many epochs, `sample` in all, in order; all if it is None."""
    if sample is None or sample >= epochs:
        return list(range(epochs))
    return [0, *sorted(random.Random(seed).sample(range(1, epochs), sample - 1))]


def stretches(epochs: list[int], longest: int) -> Iterator[range]:
    """The epochs as ranges of consecutive ones."""
    first = 0
    for i in range(1, len(epochs) + 1):
        if i == len(epochs) or epochs[i] != epochs[i - 1] + 1 or i - first == longest:
            yield range(epochs[first], epochs[i - 1] + 1)
            first = i


def audit(replay: Replay, name: str, epochs: list[int], found: Audit, on_tried: OnTried) -> None:
    """Replay these epochs of one model, up to the first that is not reproduced."""
    found.tried[name] = 0
    longest = min(BLOCK_EPOCHS, 1 + BLOCK_VALUES // len(replay.run.parameter_names))
    for stretch in stretches(epochs, longest):
        broken = replayed(replay, name, stretch)
        if broken:
            found.tried[name] += max(1, broken.epoch - stretch.start + 1)
            found.broken[name] = broken
            return
        found.tried[name] += len(stretch)
        on_tried(name, found.tried[name], len(epochs))


def replayed(replay: Replay, name: str, stretch: range) -> Broken | None:
    """Replay consecutive epochs of a model from the row before; the first that is not the stored one."""
    needed = range(max(stretch.start - 1, 0), stretch.stop)
    stored = replay.store.history(replay.run.id, name, needed.start, needed.stop - 1)
    missing = np.setdiff1d(needed, stored.epoch)
    if len(missing):
        return Broken(int(missing[0]), "it is not stored", None)
    before = stored[:1].state if stretch.start else replay.start()
    expected = stored[-len(stretch) :]
    made = replay.advance(name, before, len(stretch))
    unlike = first_unlike(made, expected, replay.run.parameter_names)
    if unlike is None:
        return None
    epoch, what = unlike
    return Broken(epoch, f"replayed, {what}", gap(made, expected, epoch - stretch.start))


def gap(one: History, other: History, row: int) -> float:
    """The largest gap between two rows; NaN if a value is not finite."""
    return float(np.abs(rows(one)[row].astype(np.float64) - rows(other)[row]).max())


def verdict(replay: Replay, found: Audit, sample: int | None, seed: int) -> VerdictRow:
    """The verdict in words."""
    run = replay.run
    tried = "tried: " + ", ".join(
        f"{count:,} of {found.epochs[name]:,} epochs of {name}" for name, count in found.tried.items()
    )
    if sample is not None:
        tried += f", drawn with --seed {seed}, and epoch 0 from the start of seed {run.seed}"
    made = VerdictRow(run_id=run.id, kind="audit", tolerance=0.0)
    if not found.broken:
        made.passed = True
        made.detail = f"each epoch tried has the bits that its model makes of the epoch before; {tried}"
        return made
    name, first = min(found.broken.items(), key=lambda each: each[1].epoch)
    made.passed, made.first_epoch = False, first.epoch
    made.worst = first.gap if first.gap is not None and np.isfinite(first.gap) else None
    others = [f"{other} from epoch {each.epoch}" for other, each in found.broken.items() if other != name]
    also = f" (and {', '.join(others)})" if others else ""
    models = tuple(ModelSource(each.name, each.source, each.source_sha256) for each in run.models)
    changes = environment_changes(environment_at(run.environment, first.epoch), environment(models))
    made.detail = f"epoch {first.epoch} of {name} is not reproduced: {first.what}{also}; {tried}; " + (
        f"this environment is another than the run's, which may be the reason: {'; '.join(changes)}"
        if changes
        else "this environment is the run's, so the stored values, settings or models have been changed"
    )
    return made


def environment_at(recorded: dict[str, Any], epoch: int) -> dict[str, Any]:
    """The environment in which a run trained an epoch: the first one, with the changes of the last resume."""
    resumes = [each["changed"] for each in recorded.get("resumes", []) if each["epoch"] <= epoch]
    return {name: value for name, value in recorded.items() if name != "resumes"} | (resumes or [{}])[-1]
