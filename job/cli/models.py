"""`job models`: which models can be named, and whether one keeps the contract."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

import typer

from db.history import History
from job.cli import group
from job.cli.options import AsJson, Data, LearningRate, Seed, Target, command
from job.cli.output import print_json, print_line, print_table
from job.cli.table_options import ReadingOptions
from job.data.dataset import Dataset
from job.models.contract import check as clauses_of
from job.models.contract import train
from job.models.loading import load_models
from job.models.reference import installed

app = group()


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models that can be named, besides files ([NAME=]FILE.py:CLASS); check one of your own."""
    if context.invoked_subcommand is not None:
        return
    found = installed()
    if as_json:
        print_json([{"name": name, "source": place, "about": about} for name, place, about in found])
    else:
        print_table(["name", "from", "about"], [list(row) for row in found])


@app.command("check")
@command
def check(
    *,
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="A name, or FILE.py:CLASS.")],
    data: Data = None,
    target: Target = None,
    reading: ReadingOptions,
    epochs: Annotated[int, typer.Option(min=10, max=100_000, help="Epochs to try.")] = 100,
    learning_rate: LearningRate = 0.01,
    seed: Seed = 0,
) -> int:
    """Try the contract of a model on one: a line for each clause; exit status 1 if one is broken.

    A file's code runs with your rights. The contract: docs/models.md.
    """
    ((name, model),) = load_models([reference]).items()
    dataset = reading.dataset(data, target)

    def again() -> History:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
            return processes.submit(train_named, reference, dataset, epochs, learning_rate, seed).result()

    broken = 0
    for clause in clauses_of(model, dataset, epochs, learning_rate, seed, again):
        broken += not clause.passed
        if clause.passed:
            print_line(f"passed: {clause.name}")
        else:
            print_line(f"FAILED: {clause.name}: {clause.detail}", style="bold red")
    print_line(f"{name}: " + (f"broken clauses: {broken}" if broken else "all clauses hold"))
    return 1 if broken else 0


def train_named(reference: str, dataset: Dataset, epochs: int, learning_rate: float, seed: int) -> History:
    """The history of a model, trained in this process."""
    (found,) = load_models([reference]).values()
    return train(found, dataset, epochs, learning_rate, seed)
