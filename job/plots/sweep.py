"""A sweep's figures: the fan of loss curves, and the final loss by learning rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from db import sweeps
from db.errors import StoreError
from db.history import Float64s, Int64s
from db.store import Store
from job.fit import loss_name
from job.plots.style import COLOURS, Look, blank, legend_below, plain

POINTS = 300
"""epochs of a curve, evenly spaced on the logarithmic axis"""
ASKED = (100, 1_000, 10_000)
"""epochs at which the seed's share of the spread is printed"""
BANDS = ((0.1, 0.9, 0.18), (0.25, 0.75, 0.3))
"""lower quantile, upper quantile, opacity"""


@dataclass(frozen=True, slots=True)
class Fan:
    """The loss curves of a sweep's runs on common epochs."""

    name: str
    loss: str
    """what the losses are, for a label"""
    epochs: Int64s
    """int64 [n], counted from 0"""
    rates: Float64s
    """float64 [r], learning rates in rising order"""
    seeds: Int64s
    """int64 [s]"""
    train: Float64s
    """float64 [r, s, n]; NaN if there is no such run, or it lacks the epoch"""
    test: Float64s
    """the same of the test loss"""
    left_out: int = 0
    """runs that are not drawn because they are downsampled"""


def read_fan(store: Store, name: str) -> Fan:
    """The curves of the first model of a sweep's runs, except downsampled ones.

    Raises NotFoundError if it is unknown, StoreError if it has no epochs, or several datasets or targets.
    """
    every = sweeps.runs_of(store, name)
    if len(sweeps.tables_of(store, name)) > 1:
        raise StoreError(f"the sweep {name} has runs of several data or targets, which are not one fan")
    runs = [run for run in every if run.whole]  # downsampled runs have too few epochs
    if not runs:
        raise StoreError(f"all runs of the sweep {name} are downsampled, so there is nothing to draw")
    last = max(run.epochs for run in runs)
    epochs = np.unique(
        np.concatenate([np.geomspace(1, last, POINTS) - 1, [e for e in ASKED if e < last], [last - 1]])
        .round()
        .astype(np.int64)
    )
    rates, seeds = sorted({run.learning_rate for run in runs}), sorted({run.seed for run in runs})
    place = {run.id: (rates.index(run.learning_rate), seeds.index(run.seed)) for run in runs}
    column = {epoch: i for i, epoch in enumerate(epochs.tolist())}
    train = np.full((len(rates), len(seeds), len(epochs)), np.nan)
    test = train.copy()
    for run, epoch, train_loss, test_loss in sweeps.losses(store, name, epochs.tolist()):
        if run in place:
            where = (*place[run], column[epoch])
            train[where], test[where] = train_loss, test_loss
    if np.isnan(train).all():
        raise StoreError(f"the sweep {name} has no epochs yet, so there is nothing to draw")
    by_model = {(run.models[0].source, run.models[0].source_sha256): run.id for run in runs}
    loss, left_out = loss_name(map(store.run, by_model.values()), ", normalised"), len(every) - len(runs)
    return Fan(name, loss, epochs, np.array(rates), np.array(seeds, np.int64), train, test, left_out)


def fan(shown: Fan) -> Figure:
    """Every run's train loss, with median and quantile bands over the seeds; a panel per learning rate."""
    columns = min(3, len(shown.rates))
    rows = -(-len(shown.rates) // columns)
    figure, axes = blank(rows=rows, columns=columns, height=3.6, width=max(8.0, 3.4 * columns), sharey=True)
    for axis in axes[len(shown.rates) :]:
        axis.remove()
    along = shown.epochs + 1
    for i, rate in enumerate(shown.rates):
        axis, colour = axes[i], COLOURS[0]
        curves = shown.train[i][~np.isnan(shown.train[i]).all(axis=1)]
        some = ~np.isnan(curves).all(axis=0)
        for low, high, strength in BANDS:
            edges = np.nanquantile(curves[:, some], [low, high], axis=0)
            axis.fill_between(along[some], *edges, color=colour, alpha=strength, linewidth=0)
        axis.plot(along, curves.T, color=colour, linewidth=0.4, alpha=0.5)
        axis.plot(along[some], np.nanmedian(curves[:, some], axis=0), color=COLOURS[1], linewidth=2)
        axis.set(xscale="log", yscale="log", title=f"learning rate {rate:g}, {len(curves)} seeds")
        axis.set_xlabel("epochs trained (log)")
        axis.set_xlim(1, along[-1])
        if i % columns == 0:
            axis.set_ylabel("train loss (log)")
    entries = [
        ("one seed", {"color": COLOURS[0], "linewidth": 0.6}),
        ("median", {"color": COLOURS[1], "linewidth": 2}),
        ("25 to 75 %", {"color": COLOURS[0], "alpha": 0.55, "linewidth": 7}),
        ("10 to 90 %", {"color": COLOURS[0], "alpha": 0.25, "linewidth": 7}),
    ]
    figure.suptitle(
        f"Sweep {plain(shown.name)}: train loss of every run", x=0.01, ha="left", fontweight="bold"
    )
    legend_below(figure, entries)
    return figure


def final(shown: Fan) -> Figure:
    """Each run's last losses by learning rate, with the median over the seeds."""
    figure, (axis,) = blank()
    entries: list[tuple[str, Look]] = []
    for j, (part, losses) in enumerate((("train", shown.train), ("test", shown.test))):
        last = losses[:, :, -1]
        for i, rate in enumerate(shown.rates):
            values = last[i][~np.isnan(last[i])]
            # Side by side, in the order of the seeds, so that they do not hide each other.
            nudge = np.linspace(0.94, 1.06, len(values)) if len(values) > 1 else np.ones(len(values))
            axis.plot(rate * nudge, values, ".", color=COLOURS[j], alpha=0.5, markersize=5)
        complete = ~np.isnan(last).all(axis=1)
        medians = np.nanmedian(last[complete], axis=1)
        axis.plot(shown.rates[complete], medians, "o-", color=COLOURS[j])
        entries.append((f"{part}, median over the seeds", {"color": COLOURS[j], "marker": "o"}))
    axis.set(
        xscale="log",
        yscale="log",
        title=f"Sweep {plain(shown.name)}: loss after {shown.epochs[-1] + 1:,} epochs",
    )
    axis.set_xticks(shown.rates, [f"{rate:g}" for rate in shown.rates])
    axis.minorticks_off()
    axis.set_xlabel("learning rate (log); a dot is a seed")
    axis.set_ylabel(f"{shown.loss} (log)")
    legend_below(figure, entries)
    return figure


FIGURES: dict[str, Callable[[Fan], Figure]] = {"fan": fan, "final": final}


def share_of_seed(losses: Float64s) -> float:
    """The share of the spread of the log losses, [rates, seeds], that the seeds explain: 0 to 1.

    Eta squared of the main effect in a two-way layout: the sum of squares between the seeds' means over the
    total (Fisher, Statistical Methods for Research Workers, 1925, section 41). NaN if there is no spread.
    """
    logs = np.log(losses)
    squares = ((logs - logs.mean()) ** 2).sum()
    between = len(logs) * ((logs.mean(axis=0) - logs.mean()) ** 2).sum()
    return float(between / squares) if squares else float("nan")


def seed_in_words(shown: Fan) -> str:
    """A sentence on how much of the spread of the train loss the seed explains, at a few epochs.

    Only seeds with all learning rates count. With one learning rate the seed explains all of the spread, and
    the sentence gives its width.
    """
    last = int(shown.epochs[-1])
    wanted = sorted({*(epoch for epoch in ASKED if epoch < last), last})
    parts = []
    for epoch in wanted:
        at = shown.train[:, :, int(np.searchsorted(shown.epochs, epoch))]
        whole = at[:, ~np.isnan(at).any(axis=0) & (at > 0).all(axis=0)]
        if whole.shape[1] < 2:
            continue
        if len(shown.rates) == 1:
            parts.append(f"{whole.max() / whole.min():.3g} times between the seeds at epoch {epoch:,}")
        else:
            parts.append(f"{100 * share_of_seed(whole):.3g} % at epoch {epoch:,}")
    if not parts:
        return "the seed's share of the spread is not known: fewer than two seeds have every learning rate"
    if len(shown.rates) == 1:
        return f"the train loss differs {', '.join(parts)}"
    return f"of the spread of the train loss the seed explains {', '.join(parts)}"
