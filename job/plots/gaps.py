"""The figures `gap` and `drift`: models against each other and the exact path, runs against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from db.history import Float64s, History
from job.plots.figures import above_zero, last_epoch
from job.plots.style import COLOURS, Look, blank, epoch_axis, legend_below, model_line
from job.plots.subject import Subject
from job.verdicts.exact import apart, path_of
from job.verdicts.path import ExactPath

QUANTITIES = ("train loss", "test loss", "parameters (largest)")
LIMIT: Look = {"color": "#555555", "linestyle": (0, (1, 1))}
BOUND: Look = {"color": "#888888", "linestyle": (0, (5, 1.5))}


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
    finish(axes, subjects)
    legend_below(figure, entries)
    return figure


def finish(axes: Sequence[Axes], subjects: Sequence[Subject]) -> None:
    """Label the axes of a figure of gaps."""
    for axis in axes:
        axis.set_yscale("log")
        axis.set_ylabel("absolute gap (log)")
        epoch_axis(axis, last_epoch(subjects))
        axis.label_outer()


def draw_gaps(axes: Sequence[Axes], pairs: Sequence[tuple[Subject, str]]) -> list[tuple[str, Look]]:
    """Draw how far each model is from the first of its run; return the legend's entries."""
    several = len(pairs) > 1
    names = {f"{subject.models[0]} and {model}" for subject, model in pairs}
    same = names.pop() if len(names) == 1 else "two models of a run"
    entries: list[tuple[str, Look]] = []
    for i, (subject, model) in enumerate(pairs):
        epoch, gaps = apart_by(subject.histories[subject.models[0]], subject.histories[model])
        pair = f"{subject.models[0]} and {model}"
        for j, (quantity, values) in enumerate(zip(QUANTITIES, gaps, strict=True)):
            colour = COLOURS[(i if several else j) % len(COLOURS)]
            axis = axes[j if several else 0]
            draw_gap(axis, epoch, values, colour)
            axis.set_title(f"Gap between {same if several else pair}" + f": {quantity}" * several)
            if not several or j == 0:
                run = f"run {subject.run.id}"
                entries.append((f"{run}: {pair}" if several else quantity, {"color": colour}))
        if not several:
            axes[0].set_title(f"Gap between {pair}, run {subject.run.id}")
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


def drift(subjects: Sequence[Subject]) -> Figure:
    """The gap between two runs by epoch, a panel for each model: losses, and the largest of a parameter."""
    one, other = subjects
    models = [model for model in one.histories if model in other.histories]
    figure, axes = blank(rows=len(models), height=3.2 if len(models) > 1 else 4.2, sharex=True)
    for axis, model in zip(axes, models, strict=True):
        epoch, gaps = apart_by(one.histories[model], other.histories[model])
        for values, colour in zip(gaps, COLOURS, strict=False):
            draw_gap(axis, epoch, values, colour)
        alike = "" if any(values.any() for values in gaps) else ": none"
        axis.set_title(f"Gap between runs {one.run.id} and {other.run.id}, {model} model{alike}")
    finish(axes, subjects)
    entries = [(quantity, {"color": colour}) for quantity, colour in zip(QUANTITIES, COLOURS, strict=False)]
    legend_below(figure, entries)
    return figure


def no_gap(subjects: Sequence[Subject]) -> bool:
    """Whether two runs have no gap in any model and epoch that both have."""
    one, other = (subject.histories for subject in subjects)
    return not any(
        values.any() for model in one if model in other for values in apart_by(one[model], other[model])[1]
    )


def draw_gap(axis: Axes, epoch: Any, values: Float64s, colour: str) -> None:
    """Draw a gap: pale at every epoch, strong the largest of the nearby; epochs without one are not drawn."""
    axis.plot(epoch, above_zero(values), color=colour, linewidth=0.4, alpha=0.3)
    axis.plot(epoch, above_zero(largest_nearby(values)), color=colour, linewidth=1.8)


def apart_by(first: History, second: History) -> tuple[Any, tuple[Float64s, Float64s, Float64s]]:
    """Epochs that two histories have, and the gaps: train loss, test loss, largest parameter's."""
    epoch, mine, theirs = np.intersect1d(first.epoch, second.epoch, assume_unique=True, return_indices=True)

    def apart(a: Any, b: Any) -> Float64s:
        gaps: Float64s = np.abs(a[mine].astype(np.float64) - b[theirs])
        return gaps

    largest = apart(first.parameters, second.parameters).max(axis=1)
    train, test = apart(first.train_loss, second.train_loss), apart(first.test_loss, second.test_loss)
    return epoch, (train, test, largest)


def largest_nearby(values: Float64s) -> Float64s:
    """For each epoch the largest value in a window around it of about 1 % of the run."""
    half = len(values) // 200
    padded = np.pad(values, half, mode="edge")
    largest: Float64s = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1).max(axis=1)
    return largest
