"""What a run is that has lost epochs to `job prune`: marked, and never taken for a whole one."""

from __future__ import annotations

from collections.abc import Sequence

from db.errors import StoreError
from db.schema import RunRow

DELETION = 2**31 - 1
"""`thinned_every` of a run that is just being deleted, or was when that was killed"""
LARGEST_STEP = 2**30 - 1
"""of a thinning: what is above it says that the removal of epochs is under way, and which"""


def under_way(step: int) -> int:
    """`thinned_every` of a run that is just being thinned to every `step`-th epoch, or was when killed.

    The column holds whole numbers from 2 to 2**31 - 1, so the mark counts down from the largest of them.
    """
    return DELETION - step


def step_under_way(mark: int | None) -> int | None:
    """The step of the thinning that `thinned_every` says is under way; None where it says no such thing."""
    return DELETION - mark if mark is not None and LARGEST_STEP < mark < DELETION else None


def require_whole(runs: Sequence[RunRow], purpose: str) -> None:
    """Raises StoreError where one of the runs has lost epochs to `job prune`."""
    for run in runs:
        if run.thinned_every is not None:
            raise StoreError(f"run {run.id} is {described(run)}; only a whole run can be {purpose}")


def described(run: RunRow) -> str:
    """What pruning has left of a run, in words."""
    if run.thinned_every == DELETION:
        return "half deleted; the next `job prune` ends that"
    if step := step_under_way(run.thinned_every):
        return f"half thinned to every {step:,}th epoch; the next `job prune` ends that"
    return f"thinned to every {run.thinned_every:,}th epoch besides the first, the best and the last"
