"""Checks for runs that have lost epochs to `job prune`."""

from __future__ import annotations

from collections.abc import Sequence

from db.errors import UnsuitableRunError
from db.schema import RunRow


def require_whole(runs: Sequence[RunRow], purpose: str) -> None:
    """Raises UnsuitableRunError if one of the runs has lost epochs to `job prune`."""
    for run in runs:
        if not run.whole:
            raise UnsuitableRunError(f"run {run.id} is {described(run)}; only a whole run can be {purpose}")


def described(run: RunRow) -> str:
    """What pruning has left of a run, in words."""
    if run.pruning == "delete":
        return "half deleted; the next `job prune` finishes it"
    if run.pruning == "thin":
        return f"half downsampled to every {run.thinned_every:,}th epoch; the next `job prune` finishes it"
    return f"downsampled to every {run.thinned_every:,}th epoch, and the first, the best and the last"
