"""`job compare`: whether two runs' histories are the same bits."""

from __future__ import annotations

from typing import Annotated

import typer

from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, finite, open_store
from job.cli.output import print_json, print_line, verdict_record
from job.verdicts.drift import compare as judge


def compare(
    run: Annotated[str, typer.Argument(metavar="A", help="A run's number, or `latest`.")],
    against: Annotated[str, typer.Argument(metavar="B", help="The run that it is compared with.")],
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            callback=finite,
            help="Largest gap that passes, relative to values beyond 1; 0 asks for the same bits.",
        ),
    ] = 0.0,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> int:
    """Are two runs' histories the same bits? If not: from which epoch on, how far apart, and where.

    Says first what differs between their data, reading, target, epochs, learning rate, seed and models.
    Only if nothing does, the verdict is stored with run A. Exit status 1 when the histories differ, whatever
    the reason.
    """
    with open_store(database_url) as store:
        verdict, lines = judge(store, store.run(run), store.run(against), tolerance)
    if as_json:
        print_json(verdict_record(verdict))
        return 0 if verdict.passed else 1
    for line in lines:
        print_line(line)
    if verdict.passed:
        same = "the same" if not tolerance else f"the same to {tolerance:g}"
        print_line(
            f"drift: passed: runs {verdict.run_id} and {verdict.against_run_id} are {same}", style="green"
        )
        return 0
    differ = f"runs {verdict.run_id} and {verdict.against_run_id} differ"
    if verdict.id is None:
        print_line(f"drift: not judged: {differ}, and so do their specifications", style="bold")
    else:
        print_line(f"drift: FAILED: {differ}", style="bold red")
    return 1
