"""The command line: the only package that knows Typer. Modules of commands are imported when asked for."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

# Typer carries its own copy of click and names its exceptions nowhere in public.
from typer._click.exceptions import ClickException
from typer.core import TyperGroup
from typer.main import get_command

from db.errors import LedgerError
from job import __version__
from job.log import log_line, shown

COMMANDS = {
    "train": ("train:train", "Train the models and record every epoch."),
    "resume": ("train:resume", "Resume a stopped run, or lengthen a completed one."),
    "models": ("models:app", "List the models; check one of your own."),
    "data": ("data:app", "Check what a table holds, before training on it."),
    "runs": ("runs:runs", "List the runs, newest first."),
    "show": ("show:show", "Show everything about one run."),
    "query": ("query:query", "Query the history in SQL, read only."),
    "verify": ("verify:verify", "Judge a run: integrity, parity, the exact path."),
    "step": ("step:step", "Replay one epoch, and show every value of it."),
    "audit": ("audit:audit", "Replay stored epochs, and compare their bits."),
    "compare": ("compare:compare", "Compare two runs bit for bit."),
    "bisect": ("bisect:command", "Find which package or setting changed the bits."),
    "plot": ("draw:plot", "Draw figures of runs or of a sweep."),
    "report": ("draw:report", "Write a page with a run's verdicts and figures."),
    "export": ("export:export", "Write a run's history as CSV or Parquet."),
    "mirror": ("mirror:mirror", "Write VisualDL logs again from the store."),
    "dashboard": ("dashboard:dashboard", "Show the newest runs in VisualDL, in a browser."),
    "nightly": ("nightly:nightly", "Train on a schedule; compare each run with the last."),
    "nights": ("nights:nights", "List the scheduled runs; check that none was missed."),
    "baseline": ("baseline:app", "Set the run that scheduled runs are judged against."),
    "sweep": ("sweep:sweep", "Train every seed with every learning rate."),
    "worker": ("sweep:worker", "Train runs of sweeps for a Dask scheduler."),
    "prune": ("prune:prune", "Delete, archive or downsample old runs."),
    "db": ("database:app", "Upgrade, check or back up the store; unarchive."),
}
"""each command's module and function, and what the list of commands says of it"""
VALUES = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
"""what the help calls an option's value, by its type; Typer's own names take half of a line"""


class LazyGroup(TyperGroup):
    """A group whose commands are listed without their modules, and imported once one is asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the first word names, imported."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and load(str(name)), rest


def group() -> typer.Typer:
    """A Typer application for the commands of one module."""
    return typer.Typer(add_completion=False, rich_markup_mode=None)


@cache
def load(name: str) -> Any:
    """The command of that name, with all its options."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"job.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        alone = group()
        alone.command(name)(found)
        found = alone
    command = get_command(found)
    command.help = command.help or COMMANDS[name][1]
    for each in (command, *getattr(command, "commands", {}).values()):
        for parameter in each.params:
            if parameter.param_type_name == "argument":
                parameter.display_type_rich = lambda ctx: ""  # its type, beside its name
            elif not (parameter.is_flag or parameter.metavar):
                parameter.metavar = VALUES.get(parameter.type_descriptor.annotation)
    return command


app = typer.Typer(
    name="job",
    cls=LazyGroup,
    help=(
        "Train the same model in two or more implementations, by default a linear regression in NumPy and in "
        "PaddlePaddle, and keep every epoch of each in a SQL database.\n\nSettings come from options, then "
        "from the environment, then from .env in the current directory. Exit status: 0 fine; 1 a verdict "
        "failed, or the run diverged or failed; 2 wrong use or bad input; 130 or 143 stopped by a signal."
    ),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, (_, _summary) in COMMANDS.items():
    app.command(_name, help=_summary)(lambda: None)


def print_version(wanted: bool) -> None:
    """Print the version and end, where --version was given."""
    if wanted:
        typer.echo(f"epoch-ledger {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback with an error; anywhere on the line.")
    ] = False,
) -> None:
    """Options of every command; `run` looks for --debug itself, so that it may stand anywhere."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit status. An error is one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return invoke(words)
    except ClickException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "job"
        message = error.format_message().replace("\n", " ")
        return fail(f"{message} (see `{where} --help`)", error.exit_code, debug)
    except LedgerError as error:
        return fail(str(error), error.exit_status, debug)
    except (KeyboardInterrupt, typer.Abort) as error:
        return fail(str(error) or "interrupted", 130, debug)
    except BrokenPipeError:  # the reader of our output, `head` for one, has seen enough
        sys.stdout = None
        return 0
    except OSError as error:
        if error.filename is None:  # what could not be written is not tried again at the end
            sys.stdout = None
        return fail(f"{error.strerror or error}: {error.filename or 'while printing'}", 1, debug)
    except Exception as error:
        return fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1, debug)


def invoke(words: Sequence[str]) -> int:
    """Run one command line whose output is written when this returns. Raises whatever goes wrong."""
    command: Any = get_command(app)  # not called, since Typer makes Ctrl-C a status without a word
    if "_JOB_COMPLETE" in os.environ:  # a shell asks how the line may go on
        command.main([], prog_name="job")
    status = 0
    try:
        with command.make_context("job", list(words)) as context:
            status = command.invoke(context) or 0
    except typer.Exit as ended:
        status = ended.exit_code
    sys.stdout.flush()
    return status


def fail(message: str, status: int, debug: bool) -> int:
    """Print the one line of an error, with its traceback where asked for."""
    if debug:
        for line in traceback.format_exc().splitlines():
            print(shown(line), file=sys.stderr)
    log_line(f"error: {message.splitlines()[0] if message else 'unknown'}", "error", status=status)
    return status
