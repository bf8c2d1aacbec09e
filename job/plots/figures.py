"""The figures of one or several runs, but for the gaps: see `gaps.py`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from db.history import Float64s, History
from job.computed import Course, turning_points
from job.data.source import predictions
from job.fit import loss_name
from job.plots.style import (
    COLOURS,
    DASHES,
    Look,
    beside,
    blank,
    epoch_axis,
    label_ends,
    legend_below,
    model_line,
    plain,
    spread,
)
from job.plots.subject import Subject
from job.stretches import Stretch, rounding, stretches

PARTS = ("train", "test")
TURN: Look = {"color": "#555555", "linestyle": (0, (1, 1)), "linewidth": 0.8}
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
    legend_below(figure, entries)
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


def overfitting(subjects: Sequence[Subject]) -> Figure:
    """Train and test loss, with the best test loss and the stretches where the test loss rises marked.

    Of one run, a second panel shows the epochs around its largest stretch, and which parameters turn in it.
    """
    several = len(subjects) > 1
    models = {main_model(subject) for subject in subjects}
    rising = [
        stretches(subject.histories[main_model(subject)], rounding(subject.run.dataset))
        for subject in subjects
    ]
    zoomed = not several and bool(rising[0])
    figure, axes = blank(rows=1 + zoomed)
    largest = max(rising[0], key=lambda each: each.rise) if zoomed else None
    entries: list[tuple[str, Look]] = []
    for i, subject in enumerate(subjects):
        history = subject.histories[main_model(subject)]
        own = f"run {subject.run.id} " * several + f"{main_model(subject)} " * (len(models) > 1)
        for j, part in enumerate(PARTS):
            line: Look = {"color": COLOURS[i if several else j], "linestyle": DASHES[j if several else 0]}
            axes[0].plot(history.epoch, loss(history, part), **line)
            if largest:
                near = around(history, largest)
                axes[1].plot(near.epoch, loss(near, part), **line)
            entries.append((f"{own}{part}", line))
        best = int(np.argmin(history.test_loss))
        mark = {"color": entries[-1][1]["color"], "marker": "o", "linestyle": "", "markersize": 8}
        where = (int(history.epoch[best]), float(history.test_loss[best]))
        axes[0].plot(*where, clip_on=False, zorder=5, **mark)
        entries.append((f"best test: epoch {where[0]:,}", mark))
        if rising[i]:
            band: Look = {"color": mark["color"], "alpha": 0.15}
            for axis, each in product(axes, rising[i]):
                axis.axvspan(*each.epochs, linewidth=0, **band)
            first, last = rising[i][0].epochs
            what = f"epochs {first:,} to {last:,}" if len(rising[i]) == 1 else f"{len(rising[i]):,} times"
            entries.append((f"test rises: {what}", band | {"linewidth": 8}))
    for axis in axes:
        axis.set_yscale(loss_scale(subjects))
        axis.set_ylabel(loss_label(subjects))
        epoch_axis(axis, last_epoch(subjects))
    which = f", {models.pop()} model" if len(models) == 1 else ""
    axes[0].set_title(f"Does the test loss rise again? {title(subjects)}{which}")
    if largest:
        mark_turns(axes[1], subjects[0], around(subjects[0].histories[main_model(subjects[0])], largest))
    legend_below(figure, entries)
    return figure


def around(history: History, stretch: Stretch) -> History:
    """The epochs of a stretch, and as many before and after it."""
    first, last = stretch.epochs
    rows = np.searchsorted(history.epoch, (2 * first - last, 2 * last - first + 1))
    return history[slice(*rows)]


def mark_turns(axis: Axes, subject: Subject, history: History) -> None:
    """Limit an axis to a part of the main model's history, and mark the turns of its parameters there."""
    low, high = int(history.epoch[0]), int(history.epoch[-1])
    course = Course(subject.run, {main_model(subject): subject.histories[main_model(subject)]}, None)
    turning = [turn for turn in turning_points(course) if low <= turn.epoch <= high][:MOST_PARAMETERS]
    names = [plain(turn.parameter, 12) for turn in turning]
    axis.set_xlim(low, high)
    axis.set_title(
        f"Epochs {low:,} to {high:,}, with the parameters that turn there",
        pad=6 + 6 * max(map(len, names), default=0),
    )
    wanted = [(turn.epoch - low) / (high - low) for turn in turning]
    for name, turn, place, at in zip(names, turning, spread(wanted, 0.025), wanted, strict=True):
        axis.axvline(turn.epoch, **TURN)
        beside(axis, name, (at, 1), (place, 1.03), rotation=90, ha="center", va="bottom", fontsize=8)


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
    what = loss_name((subject.run for subject in subjects), ", normalised")
    return f"{what} (log)" if loss_scale(subjects) == "log" else what


def above_zero(values: Float64s) -> Float64s:
    """The values with NaN in place of zeros, which a logarithmic axis cannot show."""
    shown: Float64s = np.where(values > 0, values, np.nan)
    return shown


def look(i: int) -> tuple[str, Any]:
    """Colour and dashes of the i-th of many lines."""
    return COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]


def last_epoch(subjects: Sequence[Subject]) -> int:
    """The number of epochs of the longest history."""
    return max(int(h.epoch[-1]) + 1 for subject in subjects for h in subject.histories.values())


def main_model(subject: Subject) -> str:
    """The model for figures of one model: the first that has an epoch."""
    return next(iter(subject.histories))


def title(subjects: Sequence[Subject]) -> str:
    """The runs, in words."""
    numbers = [str(subject.run.id) for subject in subjects]
    return f"run {numbers[0]}" if len(numbers) == 1 else f"runs {', '.join(numbers[:-1])} and {numbers[-1]}"
