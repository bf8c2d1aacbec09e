"""The style of all figures: size, colours, legends and labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Look = dict[str, Any]
"""keyword arguments of matplotlib's lines"""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
"""distinct for colour-blind readers too, the first ones most clearly (Okabe and Ito, Color Universal Design,
2008, without their yellow, which is too pale on white)"""
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)))
"""line styles, for figures with more lines than colours"""
MODEL_LINES: tuple[Look, ...] = (
    {"linestyle": "-", "linewidth": 3.2, "alpha": 0.45},
    {"linestyle": (0, (4, 2))},
    {"linestyle": (0, (1, 1.2))},
    {"linestyle": (0, (6, 1.5, 1, 1.5))},
)
"""the first model's lines are broad and solid, the others' thin and broken on top, so that all can be seen"""
LEGEND = 112
"""characters of a legend's line, with 8 for each entry's line and space"""
WIDTH = 8.0
"""inches; at 110 dots per inch, the width of a README"""
SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "path.simplify_threshold": 0.2,
    "svg.hashsalt": "epoch-ledger",  # the same run gives the same file
    "agg.path.chunksize": 0,
}


@contextmanager
def styled() -> Iterator[None]:
    """Use our settings instead of the user's matplotlib settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def blank(
    rows: int = 1,
    columns: int = 1,
    height: float = 4.2,
    width: float = WIDTH,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` x `columns` axes, `height` inches for each row."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, [axis for row in axes for axis in row]


def model_line(position: int) -> Look:
    """The line style of a run's model by its position; further models repeat the broken styles."""
    broken = len(MODEL_LINES) - 1
    return dict(MODEL_LINES[position and 1 + (position - 1) % broken])


def epoch_axis(axes: Axes, epochs: int) -> None:
    """Label the x axis as epochs, from 0 to `epochs`."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value == int(value) else "")
    axes.set_xlim(0, epochs)
    axes.locator_params(axis="x", nbins=5)


def plain(text: str, longest: int = 40) -> str:
    """A name as matplotlib draws it: a `$` is no formula, and a long name is cut."""
    return (text if len(text) <= longest else f"{text[: longest - 1]}…").replace("$", r"\$")


def legend_below(figure: Figure, entries: Sequence[tuple[str, Look]]) -> None:
    """Put one legend below the figure, in as many columns as fit, at most four."""
    handles = [Line2D([], [], label=plain(label), **look) for label, look in entries]
    widest = max(len(plain(label)) for label, _ in entries)
    fitting = max(1, LEGEND // (widest + 8))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(4, len(handles), fitting),
        handlelength=3.2,
    )


def label_ends(axes: Axes, labels: Sequence[tuple[str, float, str, Any]]) -> None:
    """Label each line at its right end, outside the axes; labels that would overlap are moved apart.

    `labels` are (text, the line's last value, colour, dashes).
    """
    low, high = axes.get_ylim()
    heights = [(value - low) / (high - low) for _, value, _, _ in labels]
    places = spread(heights, min(0.058, 1 / len(labels)))
    for (text, _, colour, dashes), place, height in zip(labels, places, heights, strict=True):
        arrow = {"arrowstyle": "-", "color": colour, "linestyle": dashes, "linewidth": 0.9}
        arrow |= {"relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 0}
        written = {"color": colour, "va": "center", "fontsize": 9}
        beside(axes, plain(text, 24), (1, height), (1.09, place), arrowprops=arrow, **written)


def beside(
    axes: Axes, text: str, point: tuple[float, float], place: tuple[float, float], **options: Any
) -> None:
    """Write a text about a point of the axes at a place outside; both in fractions of the axes."""
    axes.annotate(text, point, place, "axes fraction", "axes fraction", annotation_clip=False, **options)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions in 0..1, as near to `wanted` as a `gap` between neighbours allows, in the same order."""
    order = np.argsort(wanted, kind="stable")
    # With the gaps subtracted, positions must not decrease; pooling neighbours that do finds the nearest such
    # (isotonic regression; Barlow et al., 1972).
    pools: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        mean, count = wanted[i] - rank * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    room = 1 - (len(order) - 1) * gap
    flat = [min(max(mean, 0.0), room) for mean, count in pools for _ in range(count)]
    places = [0.0] * len(order)
    for rank, i in enumerate(order):
        places[i] = flat[rank] + rank * gap
    return places
