"""Options that several commands take, and the store that they open."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from db.store import Store
    from job.training import Cancelled

DEFAULT_DATABASE = "sqlite:///results/ledger.db"
DEFAULT_LOG_DIR = Path("results/visualdl")

DatabaseUrl = Annotated[
    str,
    typer.Option(
        "--database-url", envvar="JOB_DATABASE_URL", help="The store: a sqlite:/// or postgresql:// URL."
    ),
]
HeartbeatTimeout = Annotated[
    float,
    typer.Option(
        "--heartbeat-timeout",
        envvar="JOB_HEARTBEAT_TIMEOUT",
        min=1.0,
        max=1e6,
        help="Seconds of silence after which a running run counts as crashed.",
    ),
]
DatabaseTimeout = Annotated[
    float,
    typer.Option(
        "--database-timeout",
        envvar="JOB_DATABASE_TIMEOUT",
        min=0.0,
        max=1e7,
        help="Seconds to wait for a database that went away.",
    ),
]
LogDir = Annotated[
    Path, typer.Option("--log-dir", envvar="JOB_LOG_DIR", help="Where the VisualDL logs are drawn.")
]
NoMirror = Annotated[
    bool,
    typer.Option("--no-mirror", envvar="JOB_NO_MIRROR", help="Draw no VisualDL logs beside the training."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's number, or `latest`.")]
RunData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The file that the run was trained on; found by itself where it is the housing table, "
        "JOB_DATA, or a file of its name in the current directory.",
    ),
]


def say(line: str) -> None:
    """Tell the person at the terminal, on stderr, something that is not a result."""
    print(f"job: {line}", file=sys.stderr, flush=True)


def open_store(
    url: str,
    *,
    create: bool = False,
    heartbeat_timeout: float = 60.0,
    database_timeout: float = 3.0,
    stop: Cancelled | None = None,
) -> Store:
    """The store at `url`; the default one's directory is made where it is missing."""
    from db.store import Store

    if create and url == DEFAULT_DATABASE:
        make_directory(Path("results"))
    return Store(
        url,
        create=create,
        heartbeat_timeout=heartbeat_timeout,
        database_timeout=database_timeout,
        stop=stop,
        say=say,
    )


def make_directory(directory: Path) -> None:
    """Make a directory of our own. Raises StoreError where it cannot be made."""
    from db.errors import StoreError

    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"the directory {directory.absolute()} cannot be made: {error.strerror}") from None
