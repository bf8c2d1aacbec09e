"""What a training prints at its end: the notebook's table, the parameters, the verdicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from db.schema import RunRow, VerdictRow
from db.store import Store
from job.cli.compare import print_comparison
from job.cli.output import loss, print_line, print_table, print_text, print_verdict, verdict_record
from job.data.dataset import Dataset
from job.fit import fit_table, fits, last_losses, loss_name
from job.log import in_json, log_event
from job.training import Conclusion
from job.verdicts.drift import judge

if TYPE_CHECKING:
    from job.cli.train import Output

MOST_PARAMETERS = 60
"""rows of the table of final parameters"""


def print_conclusion(
    store: Store, run: RunRow, conclusion: Conclusion, output: Output, dataset: Dataset
) -> int:
    """Print what a run came to, with the verdicts, and give the exit status that says so."""
    if not output.quiet:
        print_losses(store, run)
        print_parameters(store, run)
        print_fits(store, run, dataset)
    status = conclusion.outcome.status
    if status in ("diverged", "failed"):
        print_line(f"run {run.id} {status}: {conclusion.outcome.reason}", style="bold red")
        return 1
    for model in run.models:
        if model.digest:
            announce(f"{model.name}: digest {model.digest}", "digest", output.quiet)
    compared: set[int | None] = set()
    for verdict in conclusion.verdicts:
        announce_verdict(store, verdict, output.quiet, compared)
    if run.trigger == "nightly" and not any(each.kind == "drift" for each in conclusion.verdicts):
        first = "drift: not judged: this is the first scheduled run of its specification"
        announce(first, "first_night", output.quiet)
    return 1 if output.fail_on.failed(conclusion.verdicts) else 0


def announce(text: str, event: str, quiet: bool) -> None:
    """Print a line, and log it where events are JSON; there, if `quiet`, the log alone has it."""
    log_event(text, event)
    if not (quiet and in_json()):
        print_line(text)


def announce_verdict(store: Store, verdict: VerdictRow, quiet: bool, compared: set[int | None]) -> None:
    """Print a verdict, and log it where events are JSON; there, if `quiet`, the log alone has it.

    `compared` are the runs with which tables were printed.
    """
    if not (quiet and in_json()):
        if verdict.kind in ("drift", "baseline") and not verdict.passed:
            print_other_bits(store, verdict, verdict.against_run_id not in compared)
            compared.add(verdict.against_run_id)
        else:
            print_verdict(verdict)
    word = "passed" if verdict.passed else "FAILED"
    log_event(f"{verdict.kind}: {word}: {verdict.detail}", "verdict", **verdict_record(verdict))


def print_other_bits(store: Store, verdict: VerdictRow, tables: bool) -> None:
    """Print a failed verdict of the kind drift or baseline, if `tables` with those of `job compare`."""
    against = f"against run {verdict.against_run_id}"
    before, _, _ = verdict.detail.partition(against)  # since when, or that the bits were known before
    print_text(f"{verdict.kind}: FAILED: {before}{against}", style="bold red")
    if tables:
        run, other = (store.run(str(each)) for each in (verdict.run_id, verdict.against_run_id))
        print_comparison(judge(store, run, other, verdict.tolerance))


def print_losses(store: Store, run: RunRow) -> None:
    """Print the notebook's table: every tenth of the run, and its last epoch, of each model."""
    step = math.ceil(run.epochs / 10)
    losses: dict[int, dict[str, tuple[float, float]]] = {}
    models = list(store.progress(run.id))
    for model in models:
        tenths = store.history(run.id, model, step=step)
        last = store.history(run.id, model, first_epoch=run.epochs - 1)
        for part in (tenths, last):
            both = zip(part.train_loss.tolist(), part.test_loss.tolist(), strict=True)
            for epoch, pair in zip(part.epoch.tolist(), both, strict=True):
                losses.setdefault(epoch, {})[model] = pair
    nothing = (math.nan, math.nan)
    print_table(
        ["epoch", *(f"{model} {part}" for model in models for part in ("train", "test"))],
        [
            [epoch, *(loss(value) for model in models for value in losses[epoch].get(model, nothing))]
            for epoch in sorted(losses)
        ],
        title=f"Run {run.id}: {loss_name([run])} before the epoch's update",
    )


def print_fits(store: Store, run: RunRow, dataset: Dataset) -> None:
    """Print how well each model predicts in the target's units, if its losses say so."""
    found = fits(run, last_losses(store, run.id), dataset)
    if found:
        print_table(*fit_table(found), title=f"Errors in units of {run.dataset.target}, at the last epoch")
        print_line("")


def print_parameters(store: Store, run: RunRow) -> None:
    """Print the last parameters of each model by name."""
    progress = store.progress(run.id)
    values = {
        model: store.history(run.id, model, first_epoch=count - 1).state.parameters
        for model, count in progress.items()
    }
    shown, what = list(range(len(run.parameter_names))), "Final parameters"
    if len(shown) > MOST_PARAMETERS and values:
        first = next(iter(values.values()))
        shown = sorted(np.argsort(-np.abs(first))[:MOST_PARAMETERS].tolist())
        what = f"The {len(shown)} largest of {len(run.parameter_names):,} final parameters"
    print_line("")
    print_table(
        ["parameter", *values],
        [[run.parameter_names[i], *(f"{values[model][i]:+.9g}" for model in values)] for i in shown],
        title=what + " (of normalised columns)" * run.is_linear_regression,
    )
    print_line("")
