"""Writes docs/cli.md from the command line itself: `make docs`. A test holds the two together."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from job.cli import COMMANDS, load

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Written by `make docs` from the program itself. Settings come from options, then from the environment, then
from `.env` in the current directory. Exit status: 0 fine; 1 a verdict failed, or the run diverged or failed;
2 wrong use or bad input; 130 or 143 stopped by a signal. An error is one line on stderr; `--debug` anywhere
shows a traceback.
"""
OTHERS = """
## Settings without an option

| setting | means |
|---|---|
| `JOB_DATABASE_PASSWORD_FILE` | a file of one line with the password of a PostgreSQL URL that has none |
| `JOB_NOTIFY_URLS` | who hears of nights that went wrong: apprise's addresses, with blanks between |
| `JOB_PIN_NUMERICS` | 0 lets NumPy and Paddle choose threads and kernels, and the bits may differ |
| `JOB_GIT_COMMIT` | the commit that runs record where there is no checkout: images are built with it |
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for path, command in commands():
        parts.append(f"\n## `{path}`\n\n{(command.help or '').strip()}\n")
        rows = [row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        if rows:
            parts += ["\n| | default | setting | |\n|---|---|---|---|\n", *rows]
    return "".join([*parts, OTHERS])


def commands() -> Iterator[tuple[str, Any]]:
    """Each command with the words that call it."""
    for name in sorted(COMMANDS):
        command = load(name)
        if subcommands := getattr(command, "commands", {}):
            yield from ((f"job {name} {each}", sub) for each, sub in sorted(subcommands.items()))
        else:
            yield f"job {name}", command


def row(parameter: Any) -> str:
    """A parameter as a line of the table."""
    argument = parameter.param_type_name == "argument"
    name = parameter.metavar or parameter.name.upper() if argument else ", ".join(parameter.opts)
    default = parameter.default
    shown = "" if default is None or default is False else f"`{getattr(default, 'value', default)}`"
    setting = f"`{parameter.envvar}`" if parameter.envvar else ""
    text = getattr(parameter, "help", None) or ""
    annotation = parameter.type_descriptor.annotation
    literal = get_args(annotation) if get_origin(annotation) is Literal else ()
    if choices := annotation if isinstance(default, Enum) else literal:
        text += f" One of {', '.join(choices)}."
    text = text.replace("|", "\\|")
    return f"| `{name}` | {shown} | {setting} | {text} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
