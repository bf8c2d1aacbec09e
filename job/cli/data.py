"""`job data`: what a table holds, and what keeps it from being trained on."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len

from job.cli import group
from job.cli.options import AsJson, Target, command
from job.cli.output import Short, print_json, print_line, print_table
from job.cli.table_options import ReadingOptions
from job.cli.tables import screen_width, wrapped
from job.data.check import Check, Facts
from job.data.check import check as examine
from job.data.reading import Problem

app = group()
WIDE = 80
"""characters of a line where no terminal says it"""


@app.callback()
def data() -> None:
    """Check what a table holds, before training on it."""


@app.command("check")
@command
def check(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The table.")],
    target: Target = None,
    reading: ReadingOptions,
    as_json: AsJson = False,
) -> int:
    """Print what a table holds, every problem with the option that settles it, and the command to train.

    Exit status 1 if there is a problem, 2 if the file holds no table.
    """
    found = examine(file, reading.reading(), target)
    words = training_words(found)
    if as_json:
        print_json(record(found, words))
    else:
        print_check(found, words)
    return 1 if found.problems else 0


def training_words(found: Check) -> list[str]:
    """The command that trains on the table."""
    chosen = [] if found.target is None else ["--target", found.target]
    return ["job", "train", "--data", str(found.path), *chosen, *found.reading.words]


def print_check(found: Check, words: list[str]) -> None:
    """Print the result for people."""
    print_wrapped(f"{found.path}: {found.rows:,} rows, {found.layout.described}")
    for note in found.layout.notes:
        print_wrapped(note)
    print_line("")
    print_columns(found.columns)
    for title, problems in (("problems", found.problems), ("warnings", found.doubts)):
        if problems:
            print_line("")
            print_line(f"{title}, each with what settles it" if title == "problems" else title, style="bold")
        for number, problem in enumerate(problems, 1):
            print_wrapped(str(problem), f"{number}. ")
    print_line("")
    if found.dataset is not None:
        rows = f"{len(found.dataset.train_x):,} rows to train, {len(found.dataset.test_x):,} to test"
        print_line(f"train with ({rows}):" if not found.problems else f"these options settle it ({rows}):")
        print_command(words)
    else:
        print_line("correct the file, and check it again", style="bold red")


def print_columns(columns: list[Facts]) -> None:
    """Print a row for each column of the file."""
    print_table(
        ["column", "type", "minimum", "maximum", "missing", "use"],
        [
            [
                each.name,
                each.type,
                None if each.minimum is None else Short(each.minimum),
                None if each.maximum is None else Short(each.maximum),
                f"{each.missing:,}".rjust(len("missing")) if each.missing else None,
                each.use + ", constant" * each.constant,
            ]
            for each in columns
        ],
    )


def print_wrapped(text: str, first: str = "") -> None:
    """Print a sentence after `first`, on lines that fit; those after the first line are indented likewise."""
    for i, line in enumerate(wrapped(text, (screen_width() or WIDE) - len(first))):
        print_line((" " * len(first) if i else first) + line)


def print_command(words: list[str]) -> None:
    """Print a command, on several lines if it is long, as a shell reads it."""
    width = screen_width() or WIDE
    line = "  job train"
    for option in re.findall(r"(--\S+(?:\n(?!--).*)?)", "\n".join(map(shlex.quote, words[2:]))):
        option = option.replace("\n", " ")
        if cell_len(line) + 1 + cell_len(option) > width - 2:
            print_line(f"{line} \\")
            line = "   "
        line += f" {option}"
    print_line(line)


def record(found: Check, words: list[str]) -> dict[str, Any]:
    """The result as JSON has it."""
    layout, dataset = found.layout, found.dataset
    return {
        "file": str(found.path),
        "sha256": found.sha256,
        "rows": found.rows,
        "layout": {
            "kind": layout.kind,
            "delimiter": layout.delimiter,
            "decimal": layout.decimal,
            "names_line": layout.names_line or None,
            "notes": list(layout.notes),
        },
        "columns": [asdict(each) for each in found.columns],
        "problems": [as_record(problem) for problem in found.problems],
        "warnings": [as_record(problem) for problem in found.doubts],
        "train_rows": None if dataset is None else len(dataset.train_x),
        "test_rows": None if dataset is None else len(dataset.test_x),
        "command": None if dataset is None else shlex.join(words),
    }


def as_record(problem: Problem) -> dict[str, Any]:
    """A problem as JSON has it."""
    return {"text": problem.text, "options": problem.ways, "otherwise": problem.else_do or None}
