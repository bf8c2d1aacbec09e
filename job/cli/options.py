"""Options that several commands take, and the store that they open."""

from __future__ import annotations

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from job import log
from job.log import say

if TYPE_CHECKING:
    from db.database import Database
    from db.schema import RunRow, VerdictRow
    from db.store import Store
    from job.training import Cancelled

DEFAULT_DATABASE = "sqlite:///results/ledger.db"
DEFAULT_LOG_DIR = Path("results/visualdl")
FLOAT32_TINY, FLOAT32_MAX = 2.0**-149, (2 - 2.0**-23) * 2.0**127
MOST_EPOCHS = 2**31 - 1
"""what the store's integer column holds"""


def finite(value: float | None) -> float | None:
    """A tolerance, checked: Typer's own minimum lets NaN and infinity through."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value:g} is not a finite number from 0 up")
    return value


def finite_positive(value: float) -> float:
    """The learning rate, checked: the models take it as a float32, of which it must not be 0 or infinite."""
    if not FLOAT32_TINY <= value <= FLOAT32_MAX:  # false for NaN too
        raise typer.BadParameter(f"{value:g} is not a finite number above 0 that float32 can hold")
    return value


class FailOn(StrEnum):
    """Which failed verdicts give the exit status 1. A run that fails or diverges always does."""

    drift = "drift"
    """any of them"""
    parity = "parity"
    """parity and reference, but not drift"""
    never = "never"
    """none"""

    def fails(self, verdict: VerdictRow) -> bool:
        """Whether a verdict gives the exit status 1."""
        if verdict.passed or self is FailOn.never:
            return False
        return self is FailOn.drift or verdict.kind != "drift"


class LogFormat(StrEnum):
    """How the lines on stderr are written."""

    text = "text"
    json = "json"


def choose_log_format(value: LogFormat) -> LogFormat:
    """Let this process, and those it starts, speak in that format."""
    os.environ[log.SETTING] = value
    return value


Epochs = Annotated[
    int, typer.Option("--epochs", min=1, max=MOST_EPOCHS, envvar="JOB_EPOCHS", help="Epochs to train.")
]
LearningRate = Annotated[
    float,
    typer.Option(
        "--learning-rate",
        callback=finite_positive,
        envvar="JOB_LEARNING_RATE",
        help="Step size, above 0.",
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=2**32 - 1, envvar="JOB_SEED", help="Seed of the start weights."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="JOB_DATA",
        help="A CSV file with a header, or the housing table's format. Default: the housing table.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option("--target", envvar="JOB_TARGET", help="Column to predict. Default: the last."),
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        envvar=log.SETTING,
        callback=choose_log_format,
        help="How the lines on stderr are written: for people, or one JSON object each.",
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        callback=finite,
        envvar="JOB_TOLERANCE",
        help="Largest gap between the models that passes as parity, relative to values beyond 1. Default: "
        "2e-6, or more for a table of more than 1,125 training rows.",
    ),
]
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


def open_database(url: str) -> Database:
    """The store at `url` for short commands that only list: open in half the time of `open_store`."""
    from db.database import Database

    return Database(url, database_timeout=3.0, say=say)


def say_if_thinned(run: RunRow) -> None:
    """Warn that what is read of a run rests on the epochs that are left of it."""
    from db.thinned import described

    if run.thinned_every is not None:
        say(f"run {run.id} is {described(run)}; what follows rests on the epochs that are left")


def make_directory(directory: Path) -> None:
    """Make a directory of our own. Raises StoreError where it cannot be made."""
    from db.errors import StoreError

    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"the directory {directory.absolute()} cannot be made: {error.strerror}") from None
