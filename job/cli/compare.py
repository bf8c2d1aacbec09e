"""`job compare`: whether two runs' histories are the same bits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, finite, open_store
from job.cli.output import Gap, print_json, print_line, print_table, verdict_record
from job.environment import Change
from job.verdicts.drift import COLUMNS, Comparison
from job.verdicts.drift import compare as judge


def compare(
    run: Annotated[str, typer.Argument(metavar="A", help="A run's number, or `latest`.")],
    against: Annotated[str, typer.Argument(metavar="B", help="The run that it is compared with.")],
    tolerance: Annotated[
        float,
        typer.Option(
            callback=finite, help="Largest gap that passes, relative to values beyond 1; 0: same bits."
        ),
    ] = 0.0,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> int:
    """Are two runs' histories the same bits? If not: from which epoch on, how far apart, and where.

    Prints first what differs in their data, settings and models; only if nothing does, the verdict is stored
    with run A. Exit status 1 if the histories differ.
    """
    with open_store(database_url) as store:
        found = judge(store, store.run(run), store.run(against), tolerance)
    verdict = found.verdict
    if as_json:
        print_json(verdict_record(verdict) | found.record())
        return 0 if verdict.passed else 1
    print_comparison(found)
    if tolerance:
        print_line(f"tolerance {tolerance:g}")
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


def print_comparison(found: Comparison) -> None:
    """Print where two runs differ: what changed, then a row for each model."""
    print_changes("specification", found.specification)
    alike = all(each.first_epoch is None for each in found.differences.values())
    for model, each in found.differences.items():
        if alike:
            print_line(f"{model}: the same bits on all {each.epochs:,} epochs")
    if not alike:
        rows = [
            (model, "none" if first is None else first, None if gap is None else Gap(gap), *rest)
            for model, first, gap, *rest in found.rows()
        ]
        runs = f"Run {found.verdict.run_id} against run {found.verdict.against_run_id}"
        print_table(COLUMNS, rows, title=f"{runs}; units are units in the last place")
        print_line("")
    for model, each in found.differences.items():
        if each.missing:
            print_line(f"{model}: {each.missing}")
    for model, lacks in found.lacking.items():
        print_line(f"{model}: run {lacks} lacks it")
    print_changes("environment", found.environment)
    if not found.environment:
        print_line("environment: the same")


def print_changes(what: str, changes: Sequence[Change]) -> None:
    """Print a row for each change."""
    if changes:
        rows = [[change.what, brief(change.before), brief(change.now)] for change in changes]
        print_table([what, "before", "now"], rows)
        print_line("")


def brief(value: str) -> str:
    """A value, of a hash its first 12 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b", r"\1", value)
