"""`job plot` and `job report`: files drawn from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from db.errors import StoreError
from job.cli.options import (
    DEFAULT_DATABASE,
    DatabaseUrl,
    Folder,
    Run,
    RunData,
    choices,
    open_store,
    say_if_downsampled,
)
from job.cli.output import print_line
from job.log import log_line
from job.output_files import write
from job.plots.draw import all_figures, draw, drawable, encoded
from job.plots.style import styled
from job.plots.subject import read_subject
from job.plots.sweep import FIGURES as SWEEP_FIGURES
from job.plots.sweep import read_fan, seed_in_words
from job.report import page


def plot(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Runs' numbers, or `latest`.")
    ] = None,
    sweep: Annotated[str | None, typer.Option(metavar="NAME", help="Draw a sweep instead of runs.")] = None,
    output: Folder = Path("results/plots"),
    formats: Annotated[str, typer.Option("--format", help="Any of png,svg.")] = "png,svg",
    figure: Annotated[str, typer.Option(help="Only these figures, comma-separated. Default: all.")] = "",
    data: RunData = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Draw the notebook's three figures and three more; several runs go into one figure.

    Of a sweep: its loss curves, the final loss by learning rate, and how much of it the seed explains.
    """
    kinds = choices(formats, ("png", "svg"), "format")
    if (sweep is None) != bool(runs):
        raise typer.BadParameter("name the runs to draw, or a sweep with --sweep")
    if sweep is not None:
        plot_sweep(sweep, output, kinds, database_url)
        return
    with open_store(database_url) as store:
        found = {run.id: run for run in (store.run(reference) for reference in runs or ())}
        for each in found.values():
            say_if_downsampled(each)
        subjects = [read_subject(store, run, data) for run in found.values()]
    known = tuple(all_figures(subjects))
    names = choices(figure, known, "figure") if figure else known
    wanted = []
    for name in names:
        problem = drawable(name, subjects)
        if problem and figure:
            raise StoreError(f"the figure {name} cannot be drawn: {problem}")
        if problem:
            log_line(f"without the figure {name}: {problem}")
        else:
            wanted.append(name)
    stem = f"run{'s' if len(found) > 1 else ''}-{'-'.join(map(str, found))}"
    for name, kind, content in draw(subjects, wanted, kinds):
        path = output / f"{stem}-{name}.{kind}"
        write(path, content)
        print_line(str(path))


def plot_sweep(name: str, output: Path, kinds: list[str], database_url: str) -> None:
    """Draw a sweep, and say what its spread comes from."""
    with open_store(database_url) as store:
        fan = read_fan(store, name)
    if fan.left_out:
        log_line(f"without the downsampled runs of the sweep {name}: {fan.left_out:,}")
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    for figure, drawing in SWEEP_FIGURES.items():
        for kind in kinds:
            with styled():
                path = output / f"sweep-{stem}-{figure}.{kind}"
                write(path, encoded(drawing(fan), kind))
            print_line(str(path))
    print_line(seed_in_words(fan))


def report(
    run: Run = "latest",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: results/report-RUN.html.")
    ] = None,
    data: RunData = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Write one HTML page about a run that works offline: verdicts, figures, answers, environment."""
    with open_store(database_url) as store:
        found = store.run(run)
        say_if_downsampled(found)
        content = page(store, found, data)
    path = Path(f"results/report-{found.id}.html") if output is None else output
    write(path, content.encode())
    print_line(str(path))
