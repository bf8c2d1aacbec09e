"""Options that several commands take, and the store that they open."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from db.database import DATABASE_TIMEOUT, HEARTBEAT_TIMEOUT, Database
from db.errors import StoreError
from db.model_source import DEFAULT_MODELS
from job import log
from job.log import log_line

if TYPE_CHECKING:
    import threading

    from db.schema import RunRow
    from db.store import Store
    from job.cli.table_options import ReadingOptions
    from job.stop import StopRequest
    from job.training import Settings
DEFAULT_DATABASE = "sqlite:///results/ledger.db"
DEFAULT_LOG_DIR = Path("results/visualdl")
AWAY, ANSWER = 3.0, 60.0
"""seconds that commands without --database-timeout wait for an absent database, and for an answer"""
PATIENCE = 5.0
"""seconds that VisualDL's logs wait for the database, or for another process that draws them"""
FLOAT32_TINY, FLOAT32_MAX = 2.0**-149, (2 - 2.0**-23) * 2.0**127
MOST_EPOCHS = 2**31 - 1
"""what the store's integer column holds"""
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def finite(value: float | None) -> float | None:
    """A tolerance, checked: Typer's own minimum lets NaN and infinity through."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value:g} is not a finite number from 0 up")
    return value


def duration(text: str) -> timedelta:
    """A time span like 90d, 36h, 12w or 90m. Raises typer.BadParameter."""
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if not found:
        raise typer.BadParameter(f"{text!r} is no age; write it like 90d, 36h, 12w or 90m")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def choices(text: str, known: tuple[str, ...], what: str) -> list[str]:
    """The comma-separated words of `text`. Raises typer.BadParameter for one that is not `known`."""
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        if word not in known:
            raise typer.BadParameter(f"{word!r} is no {what}; there are {', '.join(known)}")
    if not words:
        raise typer.BadParameter(f"name at least one {what} of {', '.join(known)}")
    return words


def finite_positive(value: float) -> float:
    """The learning rate, checked: the models take it as a float32, of which it must not be 0 or infinite."""
    if not FLOAT32_TINY <= value <= FLOAT32_MAX:  # false for NaN too
        raise typer.BadParameter(f"{value:g} is not a finite number above 0 that float32 can hold")
    return value


def references(given: Sequence[str] | None) -> tuple[str, ...]:
    """The models of the option, else those of JOB_MODELS, else the default ones."""
    if given:
        return tuple(given)
    words = os.environ.get("JOB_MODELS", "").split(",")
    return tuple(word.strip() for word in words if word.strip()) or DEFAULT_MODELS


def choose_log_format(value: str) -> str:
    """Let this process, and those it starts, log in that format."""
    os.environ[log.FORMAT_VARIABLE] = value
    return value


def setting(variable: str, text: str, *names: str, **more: Any) -> Any:
    """An option that an environment variable sets, too. Without `names` it has the parameter's name."""
    return typer.Option(*names, envvar=variable, help=text, **more)


Epochs = Annotated[int, setting("JOB_EPOCHS", "Epochs to train.", min=1, max=MOST_EPOCHS)]
LearningRate = Annotated[float, setting("JOB_LEARNING_RATE", "Step size, above 0.", callback=finite_positive)]
Seed = Annotated[int, setting("JOB_SEED", "Seed of the initial weights.", min=0, max=2**32 - 1)]
Data = Annotated[
    Path | None,
    setting("JOB_DATA", "The table: text in columns, with a line of names. Default: the housing table."),
]
Target = Annotated[str | None, setting("JOB_TARGET", "Column to predict. Default: the last.")]
LogFormat = Annotated[
    Literal["text", "json"],
    setting(
        log.FORMAT_VARIABLE, "Log lines on stderr as text, or as JSON objects.", callback=choose_log_format
    ),
]
Tolerance = Annotated[
    float | None,
    setting(
        "JOB_TOLERANCE",
        "Largest gap between the models that passes as parity, relative to values beyond 1. Default: "
        "2e-6, or more for a table of more than 1,125 training rows.",
        callback=finite,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        metavar="REFERENCE",
        help="A name, or [NAME=]FILE.py:CLASS; repeatable. The others are compared with the first. Default: "
        "JOB_MODELS, separated by commas, else paddle and python.",
    ),
]
DatabaseUrl = Annotated[str, setting("JOB_DATABASE_URL", "The store: a sqlite:/// or postgresql:// URL.")]
HeartbeatTimeout = Annotated[
    float,
    setting(
        "JOB_HEARTBEAT_TIMEOUT",
        "Seconds without a heartbeat after which a run counts as crashed.",
        min=1,
        max=1e6,
    ),
]
DatabaseTimeout = Annotated[
    float,
    setting("JOB_DATABASE_TIMEOUT", "Seconds to wait for a database that does not answer.", min=0, max=1e7),
]
LogDir = Annotated[Path, setting("JOB_LOG_DIR", "Directory of the VisualDL logs.")]
NoMirror = Annotated[
    bool, setting("JOB_NO_MIRROR", "Write no VisualDL logs during the training.", "--no-mirror")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's number, or `latest`.")]
RunData = Annotated[
    Path | None,
    typer.Option(
        help="The run's table. Default: the housing table, JOB_DATA, or a file of its name in this directory."
    ),
]
Folder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Directory for the files.")]


@dataclass(frozen=True, slots=True)
class Training:
    """The options that decide what is trained."""

    epochs: Epochs = 10_000
    learning_rate: LearningRate = 0.01
    seed: Seed = 0
    data: Data = None
    target: Target = None
    model: Models = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are named, by option or in JOB_MODELS; the default ones if there are none."""
        return references(self.model)

    def settings(self, reading: ReadingOptions) -> Settings:
        """The settings of a run. Raises DataError."""
        from job.training import Settings

        dataset = reading.dataset(self.data, self.target)
        return Settings(dataset, self.epochs, self.learning_rate, self.seed, models=self.models)


@dataclass(frozen=True, slots=True)
class Mirroring:
    """Whether and where a training is drawn for VisualDL."""

    log_dir: LogDir = DEFAULT_LOG_DIR
    no_mirror: NoMirror = False


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """The store that a training writes to, and how long to wait for it."""

    database_url: DatabaseUrl = DEFAULT_DATABASE
    heartbeat_timeout: HeartbeatTimeout = HEARTBEAT_TIMEOUT
    database_timeout: DatabaseTimeout = DATABASE_TIMEOUT

    def open(self, stop: StopRequest | None = None) -> Store:
        """The store; its tables, and the default one's directory, are made if they are missing."""
        make_directory_of(self.database_url)
        return open_store(
            self.database_url,
            create=True,
            heartbeat_timeout=self.heartbeat_timeout,
            database_timeout=self.database_timeout,
            answer_timeout=None,
            stop=stop,
        )


def command(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """The function as Typer wants it: a parameter that is a dataclass becomes an option for each field."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    groups = {each.name: each.annotation for each in parameters if isinstance(each.annotation, type)}
    groups = {name: group for name, group in groups.items() if is_dataclass(group)}
    options: list[inspect.Parameter] = []
    for each in parameters:
        if each.name in groups:
            group = inspect.signature(groups[each.name], eval_str=True).parameters.values()
            options += [option.replace(kind=each.kind) for option in group]
        else:
            options.append(each)

    def called(*arguments: Any, **values: Any) -> int | None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        return function(*arguments, **values)

    called.__doc__ = function.__doc__
    called.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in options}
    return called


def open_store(
    url: str, *, database_timeout: float = AWAY, answer_timeout: float | None = ANSWER, **more: Any
) -> Store:
    """The store at `url`, by default with a short wait for its database; `more` as `Database` takes it."""
    from db.store import Store

    return Store(
        url, database_timeout=database_timeout, answer_timeout=answer_timeout, log_line=log_line, **more
    )


def quiet_store(url: str, stop: threading.Event) -> Store:
    """The store for drawing logs; nothing is logged about a database that does not answer."""
    from db.store import Store

    return Store(url, database_timeout=PATIENCE, answer_timeout=ANSWER, stop=stop)


def open_database(url: str) -> Database:
    """The store at `url` for short commands that only list: open in half the time of `open_store`."""
    return Database(url, database_timeout=AWAY, answer_timeout=ANSWER, log_line=log_line)


def say_if_downsampled(run: RunRow) -> None:
    """Warn that what is read of a run rests on the epochs that are left of it."""
    from db.epochs import what_is_left

    if not run.whole:
        log_line(f"run {run.id} is {what_is_left(run)}; what follows rests on the epochs that are left")


def make_directory_of(url: str) -> None:
    """Make the directory of the default store, if that is at `url`. Raises StoreError if it cannot."""
    directory = Path("results")
    try:
        if url == DEFAULT_DATABASE:
            directory.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"the directory {directory.absolute()} cannot be made: {error.strerror}") from None
