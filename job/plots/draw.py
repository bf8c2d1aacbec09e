"""Renders the figures of runs as bytes: PNG for a README, SVG for everything else."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure

from db.errors import StoreError
from job.plots import figures, gaps
from job.plots.style import COLOURS, styled
from job.plots.subject import Subject
from job.verdicts.exact import path_of

DOTS_PER_INCH = 110
PARAMETERS = "parameters-"


def all_figures(subjects: Sequence[Subject]) -> dict[str, Callable[[Sequence[Subject]], Figure]]:
    """The figures of these runs by name, in display order; each model has one of its parameters."""
    models = dict.fromkeys(model for subject in subjects for model in subject.models)
    return {
        "losses": figures.losses,
        **{PARAMETERS + model: partial(figures.parameters, model=model) for model in models},
        "gap": gaps.gap,
        **({"drift": gaps.drift} if len(subjects) == 2 else {}),
        "overfitting": figures.overfitting,
        "predictions": figures.predicted,
    }


def drawable(name: str, subjects: Sequence[Subject]) -> str | None:
    """Why a figure cannot be drawn, in words; None if it can."""
    if name == "drift":
        return no_drift(subjects)
    for subject in subjects:
        run, needed = subject.run, list[str]()
        if name == "predictions":
            if subject.dataset is None:
                return f"the data file of run {run.id} ({run.dataset.name}) is not found; name it by --data"
            if not run.is_linear_regression:
                return f"run {run.id} is no linear regression of its features"
        elif name == "gap":
            needed = subject.models
            if len(needed) == 1 and isinstance(why := path_of(run, subject.dataset), str):
                return f"run {run.id} has one model only, and no exact path: {why}"
        elif name.startswith(PARAMETERS):
            needed = [name.removeprefix(PARAMETERS)]
        lacking = [model for model in needed if model not in subject.histories]
        if lacking:
            return f"run {run.id} has no epoch of {' or '.join(lacking)} yet"
    return None


def no_drift(subjects: Sequence[Subject]) -> str | None:
    """Why the gap between two runs cannot be drawn; None if it can."""
    one, other = subjects
    runs = f"runs {one.run.id} and {other.run.id}"
    if one.run.parameter_names != other.run.parameter_names:
        return f"{runs} have other parameters"
    if not one.histories.keys() & other.histories.keys():
        return f"{runs} have no model in common"
    return f"{runs} have no gap at any epoch that both have" if gaps.no_gap(subjects) else None


def draw(
    subjects: Sequence[Subject], names: Sequence[str], formats: Sequence[str]
) -> Iterator[tuple[str, str, bytes]]:
    """(name, format, file) of each figure in each format. Raises StoreError if runs outnumber colours."""
    if len(subjects) > len(COLOURS):
        raise StoreError(
            f"{len(subjects)} runs in one figure could not be told apart; {len(COLOURS)} is the most"
        )
    known = all_figures(subjects)
    for name in names:
        with styled():
            figure = known[name](subjects)
            for kind in formats:
                yield name, kind, encoded(figure, kind)


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as a file of that format, without a date, so that the same run gives the same bytes."""
    file = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return file.getvalue()
