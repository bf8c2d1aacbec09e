"""`job verify`: whether a run is as it was written, and whether its models agree."""

from __future__ import annotations

from typing import Annotated

import typer

from db.store import Store
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, Tolerance, open_store
from job.cli.output import ALONE, print_json, print_line, print_verdict, verdict_record
from job.cli.progress import counting
from job.verdicts.verify import integrity_verdict
from job.verdicts.verify import verify as judge


def verify(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's number, or `latest`, the default.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Check the integrity of every run in the store, and of its file.")
    ] = False,
    tolerance: Tolerance = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> int:
    """Judge a run: whether every epoch is as it was written, and whether the models agree.

    Integrity computes the digests of the stored epochs again; if it fails, it names the first model and block
    of epochs that is not what the trainer wrote. Parity compares each model with the first one; a default run
    is compared with the notebook's numbers too.

    Stores the verdicts. Exit status 1 when one failed.
    """
    if every and (run is not None or tolerance is not None):
        raise typer.BadParameter(
            "--all is about the integrity of every run: give neither RUN nor --tolerance"
        )
    with open_store(database_url) as store:
        if every:
            return verify_all(store, as_json)
        found = store.run(run or "latest")
        verdicts = judge(store, found, tolerance)
    if as_json:
        print_json([verdict_record(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            print_verdict(verdict)
        if len(found.models) == 1:
            print_line(ALONE)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def verify_all(store: Store, as_json: bool) -> int:
    """Judge the integrity of every whole run and of a SQLite file; print what failed, and how many passed."""
    damage = store.damage()
    runs = store.runs()[::-1]
    whole = [run for run in runs if run.whole]
    verdicts = []
    with counting("verifying run", len(whole)) as advance:
        for run in whole:
            verdicts.append(store.add_verdict(integrity_verdict(store, store.run(run.id))))
            advance()
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if as_json:
        print_json({"damage": damage, "verdicts": [verdict_record(verdict) for verdict in verdicts]})
        return 1 if failed or damage else 0
    for line in damage:
        print_line(f"the file is damaged: {line}", style="bold red")
    for verdict in failed:
        print_line(f"run {verdict.run_id}: FAILED: {verdict.detail}", style="bold red")
    print_line(f"integrity: {len(whole) - len(failed):,} of {len(whole):,} runs are as they were written")
    if len(runs) > len(whole):
        print_line(f"{len(runs) - len(whole):,} downsampled runs can no longer be verified")
    return 1 if failed or damage else 0
