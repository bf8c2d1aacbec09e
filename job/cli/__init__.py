"""The command line. Only this package knows Typer; what needs NumPy or Paddle is imported in a command."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

# Typer carries its own copy of click and names its exceptions nowhere in public.
from typer._click.exceptions import ClickException

from db.errors import LedgerError
from job import __version__
from job.cli import compare, database, draw, mirror, nightly, nights, prune, query, runs, sweep, train
from job.log import say

app = typer.Typer(
    name="job",
    help=(
        "Train one linear regression twice, by hand in NumPy and with PaddlePaddle, and keep every epoch of "
        "both in a SQL database.\n\nSettings come from options, then from the environment, then from .env in "
        "the current directory. Exit status: 0 fine; 1 a verdict failed, or the run diverged or failed; 2 "
        "wrong use or bad input; 130 or 143 stopped by a signal."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("resume")(train.resume)
app.command("runs")(runs.runs)
app.command("show")(runs.show)
app.command("query")(query.query)
app.command("verify")(runs.verify)
app.command("compare")(compare.compare)
app.command("plot")(draw.plot)
app.command("report")(draw.report)
app.command("export")(draw.export)
app.command("mirror")(mirror.mirror)
app.command("dashboard")(mirror.dashboard)
app.command("nightly")(nightly.nightly)
app.command("nights")(nights.nights)
app.command("sweep")(sweep.sweep)
app.command("worker")(sweep.worker)
app.command("prune")(prune.prune)
app.add_typer(database.app, name="db")


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
        return carry_out(words)
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


def carry_out(words: Sequence[str]) -> int:
    """Run one command line whose output is written when this returns. Raises whatever goes wrong."""
    command = typer.main.get_command(app)  # not called, since Typer makes Ctrl-C a status without a word
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
        traceback.print_exc()
    say(f"error: {message.splitlines()[0] if message else 'unknown'}", "error", status=status)
    return status
