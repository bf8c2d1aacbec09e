"""`job export`: a run's history as files for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from db.errors import StoreError
from db.integrity import first_fault
from job.cli.options import (
    DEFAULT_DATABASE,
    DatabaseUrl,
    Folder,
    Run,
    choices,
    open_store,
    say_if_downsampled,
)
from job.cli.output import print_line
from job.export import WRITERS, table
from job.output_files import write


def export(
    run: Run = "latest",
    formats: Annotated[str, typer.Option("--format", help="Any of csv,parquet.")] = "csv",
    output: Folder = Path("results/exports"),
    as_is: Annotated[bool, typer.Option("--as-is", help="Export even a history that was changed.")] = False,
    database_url: DatabaseUrl = DEFAULT_DATABASE,
) -> None:
    """Write a run's whole history as one flat table: a row for each model and epoch."""
    kinds = choices(formats, tuple(WRITERS), "format")
    with open_store(database_url) as store:
        found = store.run(run)
        say_if_downsampled(found)
        if found.whole and not as_is and (fault := first_fault(store, found)):
            raise StoreError(
                f"run {found.id} is not as it was written: {fault.detail}; --as-is exports it all the same"
            )
        frame = table(store, found)
    contents = {kind: WRITERS[kind](frame) for kind in kinds}  # all before the first is written
    for kind, content in contents.items():
        path = output / f"run-{found.id}.{kind}"
        write(path, content)
        print_line(str(path))
