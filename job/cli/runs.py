"""`job runs`, in a module of its own: it loads neither the mapper nor NumPy."""

from __future__ import annotations

from typing import Any

from db.database import summaries
from db.errors import NotFoundError
from job.cli.options import DEFAULT_DATABASE, AsJson, DatabaseUrl, HeartbeatTimeout, open_database, open_store
from job.cli.output import print_json, print_line, print_table, short


def progress(epochs: int, trained: int) -> str:
    """How many epochs a run has, of how many that it is to have."""
    return f"{epochs:,}" if trained == epochs else f"{trained:,} of {epochs:,}"


def runs(
    database_url: DatabaseUrl = DEFAULT_DATABASE,
    heartbeat_timeout: HeartbeatTimeout = 60.0,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first, with the first model's digest, and the datasets if there are several."""
    found: list[dict[str, Any]] = []
    nothing = "no runs yet; `job train` makes the first"
    try:
        with open_database(database_url) as database:
            found = summaries(database)
        if any(run["status"] == "running" for run in found):  # or none any more
            with open_store(database_url, heartbeat_timeout=heartbeat_timeout) as store:
                store.mark_crashed()
                found = summaries(store)
    except NotFoundError as missing:  # no store yet is a store without runs
        nothing = str(missing)
    if as_json:
        print_json(found)
    elif not found:
        print_line(nothing)
    else:
        # A name that all have says nothing, and takes a sixth of a line.
        several = len({run["sha256"] for run in found}) > 1
        dataset = ["dataset"] * several
        columns = ["run", "status", "trigger", *dataset, "epochs", "rate", "seed", "created", "digest"]
        print_table(
            columns,
            [
                [
                    run["id"],
                    run["status"]
                    + ", downsampled" * bool(run["thinned_every"])
                    + ", archived" * run["archived"],
                    run["trigger"],
                    *[run["dataset"]] * several,
                    progress(run["epochs"], min(run["trained"].values(), default=0)),
                    f"{run['learning_rate']:g}",
                    run["seed"],
                    f"{run['created_at']:%Y-%m-%d %H:%M}Z",
                    short(next(iter(run["digests"].values()), None)),
                ]
                for run in found
            ],
        )
