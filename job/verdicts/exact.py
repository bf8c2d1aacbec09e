"""The verdict `exact`: how far each model of a linear regression is from the exact path, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from db.history import Float64s, History, Int64s, names_of_values
from db.schema import RunRow, VerdictRow
from job.data.dataset import Dataset
from job.models.base import LinearRegression
from job.models.reference import BUILT_IN
from job.verdicts.gap import describe_beyond, firsts
from job.verdicts.path import ExactPath

MOST_PARAMETERS = 300
"""of a run with more, the path would take as long as the training"""


@dataclass(slots=True)
class Distance:
    """How far a model is from the exact path over the epochs that it has."""

    epochs: int = 0
    worst: float = 0.0
    """the largest distance; NaN if a value is not finite"""
    bound: float = 0.0
    """the bound of that value at that epoch"""
    epoch: int = 0
    value: str = ""
    """which value it is: `train loss`, `test loss`, or a parameter's name"""
    share: float = 0.0
    """the largest distance of any value in relation to its bound"""
    beyond: dict[str, int] = field(default_factory=dict)
    """the values beyond their bounds, each with the first such epoch"""


def path_of(run: RunRow, dataset: Dataset | None) -> ExactPath | str:
    """The exact path that a run's models must follow, or in words why there is none.

    The first model gives the start, and the others must agree with it; if it is built in, all of them do
    plain gradient descent. An own model may do something else with the same parameters, such as momentum.
    """
    if not run.is_linear_regression:
        return "the run is no linear regression of its features"
    first = run.models[0]
    if first.source not in BUILT_IN:
        return f"the first model, {first.name}, is not built in, so it may not be plain gradient descent"
    if len(run.parameters) > MOST_PARAMETERS:
        return f"the run has {len(run.parameters):,} parameters, more than {MOST_PARAMETERS}"
    if run.status == "diverged":
        return "the run diverged"
    if dataset is None:
        return f"the data file of run {run.id} ({run.dataset.name}) is not found; name it by --data"
    start = LinearRegression.initial(dataset, run.seed).parameters
    path = ExactPath(dataset, run.learning_rate, start)
    if path.diverges:
        return f"at learning rate {run.learning_rate:g} the exact path diverges"
    return path


def exact_verdicts(
    run: RunRow, histories: Mapping[str, History], dataset: Dataset | None
) -> list[VerdictRow]:
    """A verdict for each model, whether it stays on the exact path; none if there is no such path."""
    path = path_of(run, dataset)
    if isinstance(path, str):
        return []
    found = distances(path, histories, run.parameter_names)
    return [exact_verdict(run, model, distance) for model, distance in found.items()]


def exact_verdict(run: RunRow, model: str, found: Distance) -> VerdictRow:
    """Whether a model's distances are within their bounds at every epoch."""
    beyond = [(epoch, name) for name, epoch in sorted(found.beyond.items(), key=lambda each: each[1])]
    word = "leaves" if beyond else "is on"
    detail = (
        f"{model} {word} the exact path over {found.epochs:,} epochs: largest distance {found.worst:.2g} "
        f"({found.value}, epoch {found.epoch}; bound {found.bound:.2g}), largest share of a bound "
        f"{found.share:.2g}"
    )
    return VerdictRow(
        run_id=run.id,
        kind="exact",
        passed=not beyond,
        first_epoch=beyond[0][0] if beyond else None,
        worst=found.worst if np.isfinite(found.worst) else None,
        tolerance=found.bound,
        detail="; ".join(filter(None, (detail, describe_beyond(beyond)))),
        model=model,
    )


def distances(path: ExactPath, histories: Mapping[str, History], names: Sequence[str]) -> dict[str, Distance]:
    """The distance of each model from the path; `names` are those of the parameters."""
    columns = names_of_values(names)
    found = {model: Distance(len(history)) for model, history in histories.items()}
    for model, epoch, gap, bound in apart(path, histories):
        distance = found[model]
        # NaN is the worst distance, and beyond every bound.
        shares = np.where(np.isnan(gap), np.inf, gap) / bound
        distance.share = max(distance.share, float(shares.max()))
        row, column = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
        if not gap[row, column] <= distance.worst and not np.isnan(distance.worst):
            distance.worst, distance.bound = float(gap[row, column]), float(bound[row, column])
            distance.epoch, distance.value = int(epoch[row]), columns[column]
        for first, name in firsts(epoch, ~(gap <= bound), columns):
            distance.beyond.setdefault(name, first)
    return found


def apart(
    path: ExactPath, histories: Mapping[str, History]
) -> Iterator[tuple[str, Int64s, Float64s, Float64s]]:
    """Each model's epochs [n] in chunks, their distances from the path and the bounds: [n, 2 + p] each.

    The columns are train loss, test loss and the parameters.
    """
    last = max(int(history.epoch[-1]) for history in histories.values())
    for chunk in path.chunks(last + 1):
        for model, history in histories.items():
            begin, end = np.searchsorted(history.epoch, (chunk.first, chunk.first + len(chunk.values)))
            if begin < end:
                part = history[begin:end]
                rows = part.epoch - chunk.first
                gap: Float64s = np.abs(part.values - chunk.values[rows])
                yield model, part.epoch, gap, chunk.bound[rows]
