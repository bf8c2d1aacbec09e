"""Progress of a training: bars on a terminal, plain lines every tenth elsewhere; both on stderr."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from db.history import History
from job import log


def bar(width: int) -> BarColumn:
    """A bar of that many characters; rich's own is red."""
    return BarColumn(width, complete_style="cyan", finished_style="green")


@contextmanager
def training_progress(
    done: dict[str, int], epochs: int, quiet: bool = False
) -> Iterator[Callable[[str, History], None]]:
    """The progress of models that have `done` epochs of `epochs`; if `quiet`, as JSON or not at all."""
    if quiet and not log.in_json():
        yield lambda model, history: None
        return
    if log.in_json() or not sys.stderr.isatty():
        yield PlainLines(done, epochs)
        return
    with Progress(
        TextColumn("{task.description:>6}"),
        bar(10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:>6}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
        console=Console(stderr=True),
    ) as progress:
        tasks = {
            model: progress.add_task(model, total=epochs, completed=count, speed="", losses="")
            for model, count in done.items()
        }

        def on_block(model: str, history: History) -> None:
            speed = progress.tasks[tasks[model]].speed
            progress.update(
                tasks[model],
                advance=len(history),
                speed=f"{speed:,.0f}" if speed else "",
                losses=f"train {history.train_loss[-1]:.6f} test {history.test_loss[-1]:.6f}",
            )

        yield on_block


class PlainLines:
    """A line for every tenth of the run that all models have passed, with that epoch's losses."""

    def __init__(self, done: dict[str, int], epochs: int) -> None:
        self.epochs = epochs
        self.done = dict(done)
        step = math.ceil(epochs / 10)
        behind = min(done.values(), default=0)
        self.tenths = [epoch for epoch in range(step, epochs + 1, step) if epoch > behind]
        self.losses: dict[int, dict[str, str]] = {epoch: {} for epoch in self.tenths}

    def __call__(self, model: str, history: History) -> None:
        """Print the tenths that this block completes."""
        first = int(history.epoch[0])
        self.done[model] = first + len(history)
        for tenth in self.tenths:
            if first < tenth <= self.done[model]:
                i = tenth - 1 - first
                train, test = history.train_loss[i], history.test_loss[i]
                self.losses[tenth][model] = f"{model} train {train:.6f} test {test:.6f}"
        while self.tenths and self.tenths[0] <= min(self.done.values()):
            tenth = self.tenths.pop(0)
            losses = "  ".join(self.losses[tenth][name] for name in sorted(self.losses[tenth]))
            line = f"{tenth:>{len(str(self.epochs))}} of {self.epochs} epochs  {losses}"
            if log.in_json():
                log.log_line(line, "progress", epochs=tenth, of=self.epochs)
            else:
                print(log.shown(line), file=sys.stderr)


def vanishing_bars() -> Progress:
    """Bars that vanish at the end; none where stderr is no terminal or has JSON."""
    columns = (TextColumn("{task.description}"), bar(24), MofNCompleteColumn(), TimeRemainingColumn())
    off = log.in_json() or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=off)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A function that counts one or more of `total`."""
    with vanishing_bars() as progress:
        yield partial(progress.advance, progress.add_task(what, total=total))


@contextmanager
def drawing_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows how many epochs of each model are drawn."""
    tasks: dict[str, TaskID] = {}
    with vanishing_bars() as progress:

        def on_drawing(model: str, drawn: int, stored: int) -> None:
            if model not in tasks:
                tasks[model] = progress.add_task(f"drawing {model}")
            progress.update(tasks[model], completed=drawn, total=stored)

        yield on_drawing
