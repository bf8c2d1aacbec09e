"""`job verify`: whether a run is as it was written, and whether its models agree and are right."""

from __future__ import annotations

from typing import Annotated

import typer

from db.errors import StoreError, StoreFailedError
from db.schema import VerdictRow
from db.store import Store
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, RunData, Tolerance, open_store
from job.cli.output import ALONE, print_json, print_line, print_verdict, verdict_record
from job.cli.progress import counting
from job.data.source import source
from job.log import log_line
from job.verdicts.exact import path_of
from job.verdicts.verify import integrity_verdict
from job.verdicts.verify import verify as judge


def verify(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A number, or `latest`, the default.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check the integrity of the whole store.")] = False,
    tolerance: Tolerance = None,
    data: RunData = None,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> int:
    """Judge a run: whether every epoch is as it was written, and whether the models agree.

    Integrity computes the digests again, and names the first block of epochs that is not what the trainer
    wrote. Parity compares each model with the first one, and a default run with the notebook's numbers. A
    linear regression whose data file is found is compared with the exact path: gradient descent in closed
    form, in float64. Stores the verdicts. Exit status 1 if one failed.
    """
    if every and (run, tolerance, data) != (None, None, None):
        raise typer.BadParameter(
            "--all is about the integrity of every run: give neither RUN nor --tolerance nor --data"
        )
    with open_store(database_url) as store:
        if every:
            return verify_all(store, as_json)
        found = store.run(run or "latest")
        dataset = source(found, data)
        verdicts = judge(store, found, tolerance, dataset)
    if as_json:
        print_json([verdict_record(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            print_verdict(verdict)
        exact = any(verdict.kind == "exact" for verdict in verdicts)
        if not exact and isinstance(why := path_of(found, dataset), str):
            print_line(f"exact: not judged: {why}")
            if len(found.models) == 1:
                print_line(ALONE)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def verify_all(store: Store, as_json: bool) -> int:
    """Judge the integrity of every whole run and of a SQLite file; print what failed, and how many passed."""
    damage = store.damage()
    runs = store.runs()[::-1]
    whole = [run for run in runs if run.whole]
    verdicts: list[VerdictRow] = []
    with counting("verifying run", len(whole)) as advance:
        for run in whole:
            try:
                verdicts.append(store.add_verdict(integrity_verdict(store, store.run(run.id))))
            except StoreFailedError:
                raise
            except StoreError as error:  # pruned meanwhile, or of an earlier version and without digests
                log_line(f"not verified: {error}")
            advance()
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if as_json:
        print_json({"damage": damage, "verdicts": [verdict_record(verdict) for verdict in verdicts]})
        return 1 if failed or damage else 0
    for line in damage:
        print_line(f"the file is damaged: {line}", style="bold red")
    for verdict in failed:
        print_line(f"run {verdict.run_id}: FAILED: {verdict.detail}", style="bold red")
    passed = len(verdicts) - len(failed)
    print_line(f"integrity: {passed:,} of {len(verdicts):,} verified runs are as they were written")
    if len(runs) > len(whole):
        print_line(f"downsampled runs, which can no longer be verified: {len(runs) - len(whole):,}")
    return 1 if failed or damage else 0
