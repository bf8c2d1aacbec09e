"""What a run is that has lost epochs to `job prune`: marked, and never taken for a whole one."""

from __future__ import annotations

from collections.abc import Sequence

from db.errors import StoreError
from db.schema import RunRow

UNDER_WAY = 2**31 - 1
"""`thinned_every` of a run whose epochs are just being removed, or were when that was killed"""


def require_whole(runs: Sequence[RunRow], purpose: str) -> None:
    """Raises StoreError where one of the runs has lost epochs to `job prune`."""
    for run in runs:
        if run.thinned_every is not None:
            raise StoreError(f"run {run.id} is {described(run)}; only a whole run can be {purpose}")


def described(run: RunRow) -> str:
    """What thinning has left of a run, in words."""
    if run.thinned_every == UNDER_WAY:
        return "half pruned; the next `job prune` ends that"
    return f"thinned to every {run.thinned_every:,}th epoch besides the first, the best and the last"
