"""What a training prints at its end: the notebook's table, the parameters, the verdicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from job.cli.output import loss, print_line, print_table, print_verdict, verdict_record
from job.log import in_json, record

if TYPE_CHECKING:
    from db.schema import RunRow, VerdictRow
    from db.store import Store
    from job.cli.options import FailOn
    from job.training import Outcome


def conclude(
    store: Store, run: RunRow, outcome: Outcome, tolerance: float | None, *, quiet: bool, fail_on: FailOn
) -> int:
    """Print what a run came to, with the verdicts, and give the exit status that says so.

    If `quiet`, the verdicts alone. `tolerance` is parity's. A nightly run is judged for drift as well.
    """
    from job.nightly import judge_drift
    from job.verify import verify

    if not quiet:
        print_losses(store, run)
        print_parameters(store, run)
    if outcome.status == "diverged":
        # On its way out of float32 a run blows the models' rounding up as well: no parity to judge.
        print_line(f"run {run.id} diverged: {outcome.reason}", style="bold red")
        return 1
    verdicts = verify(store, run, tolerance)
    for verdict in verdicts:
        tell(verdict, quiet)
    if run.trigger == "nightly":
        drift = judge_drift(store, run)
        if drift is None:
            first = "drift: not judged: this is the first night of its specification"
            print_quietly(first, "first_night", quiet)
        else:
            tell(drift, quiet)
            verdicts.append(drift)
    return 1 if any(fail_on.fails(verdict) for verdict in verdicts) else 0


def print_quietly(text: str, event: str, quiet: bool) -> None:
    """Print a line, and log it where events are JSON; there, if `quiet`, the log alone has it."""
    record(text, event)
    if not (quiet and in_json()):
        print_line(text)


def tell(verdict: VerdictRow, quiet: bool) -> None:
    """Print a verdict, and log it where events are JSON; there, if `quiet`, the log alone has it."""
    if not (quiet and in_json()):
        print_verdict(verdict)
    word = "passed" if verdict.passed else "FAILED"
    record(f"{verdict.kind}: {word}: {verdict.detail}", "verdict", **verdict_record(verdict))


def print_losses(store: Store, run: RunRow) -> None:
    """Print the notebook's table: every tenth of the run, and its last epoch, of both models."""
    from db.history import History

    step = math.ceil(run.epochs / 10)
    losses: dict[int, dict[str, tuple[float, float]]] = {}
    models = sorted(store.progress(run.id))
    for model in models:
        tenths = store.history(run.id, model, step=step)
        last = store.history(run.id, model, first_epoch=run.epochs - 1)
        history = History.concatenate([tenths, last]) if len(last) and len(tenths) else tenths
        rows = zip(
            history.epoch.tolist(), history.train_loss.tolist(), history.test_loss.tolist(), strict=True
        )
        for epoch, train_loss, test_loss in rows:
            losses.setdefault(epoch, {})[model] = (train_loss, test_loss)
    nothing = (math.nan, math.nan)
    print_table(
        ["epoch", *(f"{model} {part}" for model in models for part in ("train", "test"))],
        [
            [epoch, *(loss(value) for model in models for value in losses[epoch].get(model, nothing))]
            for epoch in sorted(losses)
        ],
        title=f"Run {run.id}: mean squared error before the epoch's update",
    )


def print_parameters(store: Store, run: RunRow) -> None:
    """Print the last weights and bias of both models by feature name."""
    progress = store.progress(run.id)
    columns = {
        model: store.history(run.id, model, first_epoch=count - 1).state for model, count in progress.items()
    }
    names = [*(feature.name for feature in run.dataset.features), "bias"]
    values = {model: [*state.weights.tolist(), float(state.bias)] for model, state in columns.items()}
    print_table(
        ["parameter", *values],
        [[name, *(f"{values[model][i]:+.9g}" for model in values)] for i, name in enumerate(names)],
        title="\nFinal parameters (of normalised columns)",
    )
    print_line("")
