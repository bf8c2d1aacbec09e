"""Renders the figures of runs as bytes: PNG for a README, SVG for everything else."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure

from db.errors import StoreError
from job.plots import figures
from job.plots.style import COLOURS, styled
from job.plots.subject import Subject

DOTS_PER_INCH = 110
MODELS = ("paddle", "python")
FIGURES: dict[str, Callable[[Sequence[Subject]], Figure]] = {
    "losses": figures.losses,
    "parameters-paddle": partial(figures.parameters, model="paddle"),
    "parameters-python": partial(figures.parameters, model="python"),
    "gap": figures.gap,
    "overfitting": figures.overfitting,
    "predictions": figures.predicted,
}
"""by name, in display order"""


def drawable(name: str, subjects: Sequence[Subject]) -> str | None:
    """Why a figure cannot be drawn, in words; None if it can."""
    for subject in subjects:
        number = subject.run.id
        if name == "predictions" and subject.dataset is None:
            return (
                f"the data file of run {number} ({subject.run.dataset.name}) is not found; name it by --data"
            )
        needed = {"gap": MODELS, "parameters-paddle": MODELS[:1], "parameters-python": MODELS[1:]}.get(
            name, ()
        )
        lacking = [model for model in needed if model not in subject.histories]
        if lacking:
            return f"run {number} has no epoch of {' or '.join(lacking)} yet"
    return None


def draw(
    subjects: Sequence[Subject], names: Sequence[str], formats: Sequence[str]
) -> Iterator[tuple[str, str, bytes]]:
    """(name, format, file) of each figure in each format. Raises StoreError if runs outnumber colours."""
    if len(subjects) > len(COLOURS):
        raise StoreError(
            f"{len(subjects)} runs in one figure could not be told apart; {len(COLOURS)} is the most"
        )
    for name in names:
        with styled():
            figure = FIGURES[name](subjects)
            for kind in formats:
                yield name, kind, encoded(figure, kind)


def encoded(figure: Figure, kind: str) -> bytes:
    """The figure as a file of that format, without a date, so that the same run gives the same bytes."""
    file = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(file, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return file.getvalue()
