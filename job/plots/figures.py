"""The figures of one or several runs: the notebook's three and three more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from db.history import Float64s, History
from job.data.source import predictions
from job.plots.style import (
    COLOURS,
    DASHES,
    Look,
    blank,
    epoch_axis,
    label_ends,
    legend_below,
    model_line,
    plain,
)
from job.plots.subject import Subject
from job.verdicts.exact import apart, path_of
from job.verdicts.path import ExactPath

PARTS = ("train", "test")
QUANTITIES = ("train loss", "test loss", "parameters (largest)")
LIMIT: Look = {"color": "#555555", "linestyle": (0, (1, 1))}
BOUND: Look = {"color": "#888888", "linestyle": (0, (5, 1.5))}
MOST_PARAMETERS = 20
"""lines in one figure whose labels are still legible"""


def losses(subjects: Sequence[Subject]) -> Figure:
    """Train and test loss of each model over all epochs; with several runs, a panel for each loss."""
    several = len(subjects) > 1
    figure, axes = blank(columns=len(PARTS) if several else 1, sharey=True)
    entries: list[tuple[str, Look]] = []
    for i, subject in enumerate(subjects):
        for j, part in enumerate(PARTS):
            for model, history in subject.histories.items():
                line = model_line(subject.models.index(model)) | {"color": COLOURS[i if several else j]}
                axes[j if several else 0].plot(history.epoch, loss(history, part), **line)
                if not several:
                    entries.append((f"{model} {part}", line))
                elif j == 0:
                    entries.append((f"run {subject.run.id} {model}", line))
    for axis, part in zip(axes, PARTS, strict=False):
        axis.set_yscale(loss_scale(subjects))
        axis.set_title(f"{part} loss" if several else f"Losses of {title(subjects)}")
        epoch_axis(axis, last_epoch(subjects))
    axes[0].set_ylabel(loss_label(subjects))
    legend_below(figure, entries, columns=4)
    return figure


def parameters(subjects: Sequence[Subject], model: str) -> Figure:
    """The `largest` parameters of one model over all epochs, a panel for each run."""
    figure, axes = blank(rows=len(subjects), height=4.6, sharey=True)
    for axis, subject in zip(axes, subjects, strict=True):
        history = subject.histories[model]
        values = history.parameters
        drawn = largest(history)
        for i, parameter in enumerate(drawn):
            colour, dashes = look(i)
            axis.plot(history.epoch, values[:, parameter], color=colour, linestyle=dashes)
        linear = subject.run.is_linear_regression
        what = "Weights and bias" if linear else "Parameters"
        if len(drawn) < values.shape[1]:
            what = f"The {len(drawn)} largest of {values.shape[1]:,} parameters"
        axis.set_title(f"{what} of the {model} model, run {subject.run.id}")
        axis.set_ylabel("weight, of normalised columns" if linear else "parameter")
        epoch_axis(axis, int(history.epoch[-1]) + 1)
    for axis, subject in zip(axes, subjects, strict=True):  # once the shared limits are final
        last = subject.histories[model].state.parameters.tolist()
        drawn = largest(subject.histories[model])
        label_ends(axis, [(subject.run.parameter_names[p], last[p], *look(i)) for i, p in enumerate(drawn)])
    return figure


def gap(subjects: Sequence[Subject]) -> Figure:
    """How far each further model is from the first by epoch: in the losses, and the most in a parameter.

    Pale lines show every epoch, strong lines the largest gap of the nearby epochs. Several pairs of models
    get a panel for each quantity. Of linear regressions whose dataset is known, the last panel shows how far
    each model is from the exact path, and how far it may be.
    """
    pairs = [(subject, model) for subject in subjects for model in subject.models[1:]]
    found = [(subject, path_of(subject.run, subject.dataset)) for subject in subjects]
    paths = [(subject, path) for subject, path in found if isinstance(path, ExactPath)]
    rows = (len(QUANTITIES) if len(pairs) > 1 else len(pairs)) + bool(paths)
    figure, axes = blank(rows=rows, height=2.7 if rows > 1 else 4.2, sharex=True)
    entries = draw_gaps(axes, pairs) if pairs else []
    if paths:
        entries += draw_distances(axes[-1], paths)
    for axis in axes:
        axis.set_yscale("log")
        axis.set_ylabel("absolute gap (log)")
        epoch_axis(axis, last_epoch(subjects))
        axis.label_outer()
    legend_below(figure, entries)
    return figure


def draw_gaps(axes: Sequence[Axes], pairs: Sequence[tuple[Subject, str]]) -> list[tuple[str, Look]]:
    """Draw how far each model is from the first of its run; return the legend's entries."""
    several = len(pairs) > 1
    entries: list[tuple[str, Look]] = []
    for i, (subject, model) in enumerate(pairs):
        epoch, gaps = gap_history(subject, model)
        pair = f"run {subject.run.id}" if len(subject.models) == 2 else f"run {subject.run.id} {model}"
        for j, (quantity, values) in enumerate(zip(QUANTITIES, gaps, strict=True)):
            colour = COLOURS[(i if several else j) % len(COLOURS)]
            axis = axes[j if several else 0]
            # Epochs without a gap are not drawn.
            axis.plot(epoch, above_zero(values), color=colour, linewidth=0.4, alpha=0.3)
            axis.plot(epoch, above_zero(largest_nearby(values)), color=colour, linewidth=1.8)
            title = f"Gap between {' and '.join(subject.models)}, run {subject.run.id}"
            axis.set_title(quantity if several else title)
            if not several or j == 0:
                entries.append((pair if several else quantity, {"color": colour}))
    # A logarithmic axis has no zero.
    tolerances = sorted({subject.tolerance for subject, _ in pairs} - {0.0})
    for axis in axes[: len(QUANTITIES) if several else 1]:
        for tolerance in tolerances:
            axis.axhline(tolerance, **LIMIT)
    return entries + [(f"tolerance {tolerance:g}", LIMIT) for tolerance in tolerances]


def draw_distances(axis: Axes, paths: Sequence[tuple[Subject, ExactPath]]) -> list[tuple[str, Look]]:
    """Draw how far each model's parameters are from the exact path; return the legend's entries."""
    entries: list[tuple[str, Look]] = []
    for i, (subject, path) in enumerate(paths):
        run = f"run {subject.run.id} " if len(paths) > 1 else ""
        found = from_path(path, subject.histories)
        for model, (epoch, distance, _) in found.items():
            line = model_line(subject.models.index(model)) | {"color": COLOURS[(i + 3) % len(COLOURS)]}
            axis.plot(epoch, above_zero(distance), **line)
            entries.append((f"{run}{model} from the exact path", line))
        epoch, _, bound = max(found.values(), key=lambda each: len(each[0]))
        axis.plot(epoch, bound, **BOUND)
    axis.set_title("Distance from the exact path: parameters (largest)")
    return [*entries, ("float32's bound", BOUND)]


def from_path(path: ExactPath, histories: Mapping[str, History]) -> dict[str, tuple[Any, ...]]:
    """By model: epochs, the largest distance of a parameter from the exact path, and the largest bound."""
    parts: dict[str, list[tuple[Any, Any, Any]]] = {model: [] for model in histories}
    for model, epoch, apart_by, bound in apart(path, histories):
        parts[model].append((epoch, apart_by[:, 2:].max(axis=1), bound[:, 2:].max(axis=1)))
    return {model: tuple(map(np.concatenate, zip(*own, strict=True))) for model, own in parts.items()}


def overfitting(subjects: Sequence[Subject]) -> Figure:
    """Train and test loss with the epoch of the best test loss marked."""
    several = len(subjects) > 1
    figure, (axis,) = blank()
    entries: list[tuple[str, Look]] = []
    for i, subject in enumerate(subjects):
        history = subject.histories[main_model(subject)]
        for j, part in enumerate(PARTS):
            line: Look = {"color": COLOURS[i if several else j], "linestyle": DASHES[j if several else 0]}
            axis.plot(history.epoch, loss(history, part), **line)
            entries.append((f"run {subject.run.id} {part}" if several else part, line))
        best = int(np.argmin(history.test_loss))
        mark = {"color": entries[-1][1]["color"], "marker": "o", "linestyle": "", "markersize": 8}
        where = (int(history.epoch[best]), float(history.test_loss[best]))
        axis.plot(*where, clip_on=False, zorder=5, **mark)
        entries.append((f"best test: epoch {where[0]:,}", mark))
    axis.set_yscale(loss_scale(subjects))
    axis.set_title(f"Does the test loss rise again? {title(subjects)}, {main_model(subjects[0])} model")
    axis.set_ylabel(loss_label(subjects))
    epoch_axis(axis, last_epoch(subjects))
    legend_below(figure, entries, columns=3)
    return figure


def predicted(subjects: Sequence[Subject]) -> Figure:
    """Predicted against true targets of the test rows, in the table's units. Every run needs its dataset."""
    columns = min(2, len(subjects))
    rows = -(-len(subjects) // columns)
    figure, axes = blank(rows=rows, columns=columns, height=4.7 if columns == 1 else 4, width=4.6 * columns)
    for axis in axes[len(subjects) :]:
        axis.remove()
    row: Look = {"marker": "o", "linestyle": "", "color": COLOURS[0], "alpha": 0.6}
    row |= {"markersize": 5, "markeredgewidth": 0}
    equal: Look = {"color": "#555555", "linestyle": (0, (4, 2)), "linewidth": 1}
    for axis, subject in zip(axes, subjects, strict=False):
        assert subject.dataset is not None
        model = main_model(subject)
        true, guessed = predictions(subject.dataset, subject.histories[model].state)
        ends = [min(true.min(), guessed.min()), max(true.max(), guessed.max())]
        axis.plot(ends, ends, **equal)
        axis.plot(true, guessed, **row)
        error = np.sqrt(np.mean((guessed - true) ** 2))
        target = plain(subject.run.dataset.target)
        axis.set_title(f"Run {subject.run.id}, {model}: root mean square error {error:.2f}", fontsize=10)
        axis.set_xlabel(f"true {target}")
        axis.set_ylabel(f"predicted {target}")
        axis.set_aspect("equal", adjustable="box")
        margin = 0.05 * (ends[1] - ends[0])
        axis.set(xlim=(ends[0] - margin, ends[1] + margin), ylim=(ends[0] - margin, ends[1] + margin))
    legend_below(figure, [("test row", row), ("predicted = true", equal)])
    return figure


def largest(history: History) -> list[int]:
    """Positions of the parameters to draw, in order: all, or the 20 with the largest last absolute values.

    Columns are normalised to a range of 1, so a weight is how far its feature can move the prediction.
    """
    last = np.abs(history.state.parameters)
    return sorted(np.argsort(-last, kind="stable")[:MOST_PARAMETERS].tolist())


def loss(history: History, part: str) -> Float64s:
    """The train or test losses, for a logarithmic axis unless some are negative."""
    values = (history.train_loss if part == "train" else history.test_loss).astype(np.float64)
    return values if (values < 0).any() else above_zero(values)


def loss_scale(subjects: Sequence[Subject]) -> str:
    """The scale of an axis of losses: logarithmic unless some are negative."""
    histories = [history for subject in subjects for history in subject.histories.values()]
    negative = any((each.train_loss < 0).any() or (each.test_loss < 0).any() for each in histories)
    return "linear" if negative else "log"


def loss_label(subjects: Sequence[Subject]) -> str:
    """The label of an axis of losses."""
    linear = all(subject.run.is_linear_regression for subject in subjects)
    what = "mean squared error, normalised" if linear else "loss"
    return f"{what} (log)" if loss_scale(subjects) == "log" else what


def above_zero(values: Float64s) -> Float64s:
    """The values with NaN in place of zeros, which a logarithmic axis cannot show."""
    shown: Float64s = np.where(values > 0, values, np.nan)
    return shown


def largest_nearby(values: Float64s) -> Float64s:
    """For each epoch the largest value in a window around it of about 1 % of the run."""
    half = len(values) // 200
    padded = np.pad(values, half, mode="edge")
    largest: Float64s = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1).max(axis=1)
    return largest


def look(i: int) -> tuple[str, Any]:
    """Colour and dashes of the i-th of many lines."""
    return COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]


def last_epoch(subjects: Sequence[Subject]) -> int:
    """The number of epochs of the longest history."""
    return max(int(h.epoch[-1]) + 1 for subject in subjects for h in subject.histories.values())


def gap_history(subject: Subject, model: str) -> tuple[Any, tuple[Float64s, Float64s, Float64s]]:
    """Epochs that a model and the first have, and the gaps: train loss, test loss, largest parameter's."""
    first, second = subject.histories[subject.models[0]], subject.histories[model]
    epoch, mine, theirs = np.intersect1d(first.epoch, second.epoch, assume_unique=True, return_indices=True)

    def apart(a: Any, b: Any) -> Float64s:
        gaps: Float64s = np.abs(a[mine].astype(np.float64) - b[theirs])
        return gaps

    largest = apart(first.parameters, second.parameters).max(axis=1)
    train, test = apart(first.train_loss, second.train_loss), apart(first.test_loss, second.test_loss)
    return epoch, (train, test, largest)


def main_model(subject: Subject) -> str:
    """The model for figures of one model: the first that has an epoch."""
    return next(iter(subject.histories))


def title(subjects: Sequence[Subject]) -> str:
    """The runs, in words."""
    numbers = [str(subject.run.id) for subject in subjects]
    return f"run {numbers[0]}" if len(numbers) == 1 else f"runs {', '.join(numbers[:-1])} and {numbers[-1]}"
