"""One epoch replayed: every value that each model computes, and where two models part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.errors import StoreError
from db.history import Float32s, State
from job.errors import ModelError
from job.models.bits import first_unlike
from job.models.trace import Trace, epoch_of, has_trace, takes_given
from job.replay.state import Replay
from job.verdicts.gap import ulps_apart

BEFORE = "parameters before"
"""what an epoch begins with, compared like the result of an operation"""


@dataclass(frozen=True, slots=True)
class Difference:
    """How the values of one operation differ between two models, rounded to float32."""

    operation: str
    values: int
    differing: int
    """values with other bits"""
    gap: float
    """the largest absolute gap; NaN if a value is not finite"""
    ulps: int
    """the most units in the last place of float32 between two values"""
    types: str
    """the two types, if they differ"""

    @property
    def differs(self) -> bool:
        """Whether a value, or the type, differs."""
        return bool(self.differing or self.types)


@dataclass(frozen=True, slots=True)
class Stepped:
    """One model's epoch, replayed."""

    model: str
    before: State
    trace: dict[str, NDArray[Any]]
    unlike: str
    """the first replayed value that is not the stored one; empty if the replay has the stored bits"""
    trace_unlike: str
    """the first value of the trace that is not that of `advance`"""
    own: tuple[Difference, ...] = ()
    """against the first model, each on its own values; empty for the first model"""
    crosswise: tuple[Difference, ...] | None = None
    """against the first model, each operation on the first model's values; None if `trace` takes none"""

    @property
    def gradient(self) -> NDArray[Any] | None:
        """The values of what is named `gradient...`, one for each parameter; None if they are not as many."""
        parts = [value.ravel() for name, value in self.trace.items() if name.startswith("gradient")]
        packed = np.concatenate(parts) if parts else np.empty(0)
        return packed if len(packed) == len(self.before.parameters) else None

    @property
    def after(self) -> Float32s:
        """The parameters after the update, float32 [p]."""
        return self.trace["parameters"].ravel().astype(np.float32)


def step(replay: Replay, epoch: int) -> list[Stepped]:
    """Replay one epoch of each model of a run, from the stored row before or from the start.

    Raises StoreError if the epoch or the one before is not stored, and ModelError if a model has no trace, or
    another one than the first.
    """
    require_stored(replay, epoch)
    for name, model in replay.models.items():
        if not has_trace(model):
            raise ModelError(
                f"the model {name} has no trace, which `job step` needs; docs/models.md shows how to add it"
            )
    steps: list[Stepped] = []
    for name in replay.models:
        made = one(replay, name, epoch)
        steps.append(against(replay, made, steps[0]) if steps else made)
    return steps


def require_stored(replay: Replay, epoch: int) -> None:
    """Raise StoreError unless every model has trained the epoch."""
    run, progress = replay.run, replay.store.progress(replay.run.id)
    for name in replay.models:
        count = progress.get(name, 0)
        if epoch >= count:
            has = f"its epochs are 0 to {count - 1:,}" if count else "it has none yet"
            raise StoreError(f"run {run.id} has no epoch {epoch:,} of {name}: {has}")


def one(replay: Replay, name: str, epoch: int) -> Stepped:
    """One model's epoch on its own."""
    stored, before = replay.stored(name, epoch), replay.before(name, epoch)
    trained, trace = replay.advance(name, before, 1), replay.trace(name, before)
    names = replay.run.parameter_names
    unlike = first_unlike(trained, stored, names)
    trace_unlike = first_unlike(epoch_of(trace, epoch).as_stored(), trained, names)
    return Stepped(
        name,
        before,
        trace,
        unlike.replayed if unlike else "",
        trace_unlike.described if trace_unlike else "",
    )


def against(replay: Replay, made: Stepped, first: Stepped) -> Stepped:
    """The epoch of a further model, compared with the first one's. Raises ModelError."""
    require_alike(made, first)
    ours = {BEFORE: made.before.parameters, **made.trace}
    theirs = {BEFORE: first.before.parameters, **first.trace}
    crosswise = None
    if takes_given(replay.models[made.model]):
        given = {name: first.trace[name].copy().reshape(value.shape) for name, value in made.trace.items()}
        crossed = replay.trace(made.model, first.before, given)
        require_alike(replace(made, model=f"{made.model} given {first.model}'s values", trace=crossed), first)
        crosswise = differences(crossed, first.trace)
    return replace(made, own=differences(ours, theirs), crosswise=crosswise)


def require_alike(made: Stepped, first: Stepped) -> None:
    """Raise ModelError unless two traces have the same names, and as many values for each."""
    for has, lacks in ((first, made), (made, first)):
        for name, value in has.trace.items():
            found = lacks.trace.get(name)
            if found is None or found.size != value.size:
                count = "no value" if found is None else f"{found.size} values"
                raise ModelError(
                    f"the traces of {first.model} and {made.model} cannot be compared: {has.model} has "
                    f"{value.size} values of {name!r}, {lacks.model} has {count}"
                )


def differences(found: Trace, first: Trace) -> tuple[Difference, ...]:
    """How each value of `found` differs from that of `first`, in the order of `first`."""
    return tuple(difference(name, first[name], found[name]) for name in first)


def difference(name: str, first: NDArray[Any], found: NDArray[Any]) -> Difference:
    """How the values of one operation differ."""
    with np.errstate(over="ignore", invalid="ignore"):
        a, b = (np.ascontiguousarray(each.ravel(), np.float32) for each in (first, found))
        gap = np.abs(a.astype(np.float64) - b)
    return Difference(
        operation=name,
        values=len(a),
        differing=int((a.view(np.uint32) != b.view(np.uint32)).sum()),
        gap=float(gap.max(initial=0)),
        ulps=int(ulps_apart(a, b).max(initial=0)),
        types="" if first.dtype == found.dtype else f"{found.dtype}, not {first.dtype}",
    )
