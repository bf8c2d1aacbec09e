"""The baseline: the run whose bits scheduled runs must have until another one is accepted."""

from __future__ import annotations

from db.baselines import add_baseline, baseline, differs_since, former_baseline, require_usable
from db.errors import StoreError
from db.schema import BaselineRow, RunRow, VerdictRow
from db.store import Store
from job.verdicts.drift import in_words, judge


def set_baseline(store: Store, run: RunRow, reason: str, set_by: str) -> BaselineRow:
    """Make a run the baseline of its specification; return the row, with what differs from the former one.

    Raises StoreError if the run is not completed and whole, has no digest, or is the baseline already.
    """
    require_usable(run)
    now = baseline(store, run)
    if now is not None and now.run_id == run.id:
        raise StoreError(f"run {run.id} is the baseline already, set by {now.set_by}: {now.reason}")
    row = BaselineRow(kind="set", run_id=run.id, reason=reason, set_by=set_by)
    former = former_baseline(store, run)
    if former is not None:
        found = judge(store, run, former)
        row.former_run_id = former.id
        row.first_epoch, row.worst = found.verdict.first_epoch, found.verdict.worst
        row.environment_changes = in_words(found.environment) or "the same"
    return add_baseline(store, row)


def clear_baseline(store: Store, row: BaselineRow, reason: str, set_by: str) -> BaselineRow:
    """End a baseline without another in its place; return the row that says so."""
    return add_baseline(store, BaselineRow(kind="cleared", run_id=row.run_id, reason=reason, set_by=set_by))


def judge_baseline(store: Store, run: RunRow) -> VerdictRow | None:
    """Judge whether a completed run has the bits of its specification's baseline; store the verdict.

    None if no baseline is set, or if it is the run itself. A verdict that failed says since which scheduled
    run the bits have differed.
    """
    base = baseline(store, run)
    if base is None or base.run_id == run.id:
        return None
    against = store.run(base.run_id)
    verdict = judge(store, run, against).verdict
    verdict.kind = "baseline"
    if not verdict.passed:
        first = differs_since(store, against, run)
        verdict.detail = f"differs since run {first.id} of {first.created_at:%Y-%m-%d}; {verdict.detail}"
    return store.add_verdict(verdict)
