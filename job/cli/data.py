"""`job data`: what a table holds, and what keeps it from being trained on."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len

from job.cli.options import AsJson, Target, command
from job.cli.output import print_json, print_line
from job.cli.table_options import ReadingOptions
from job.data.check import Check, Facts
from job.data.check import check as examine
from job.data.problem import Problem
from job.log import shown

app = typer.Typer(
    help="Check what a table holds, before training on it.", add_completion=False, rich_markup_mode=None
)
WIDE = 80
LONGEST_NAME = 26
"""a longer name has a line of its own"""


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

    The columns are described as that command reads them. Exit status 1 if there is a problem, 2 if the file
    holds no table.
    """
    found = examine(file, reading.reading(), target)
    words = training_words(found, target)
    if as_json:
        print_json(record(found, words))
    else:
        print_check(found, words)
    return 1 if found.problems else 0


def training_words(found: Check, target: str | None) -> list[str]:
    """The command that trains on the table."""
    chosen = [] if target is None else ["--target", target]
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
            print_wrapped(f"{number}. {problem}", indent="   ")
    print_line("")
    if found.dataset is not None:
        rows = f"{len(found.dataset.train_x):,} rows to train, {len(found.dataset.test_x):,} to test"
        print_line(f"train with ({rows}):" if not found.problems else f"these options settle it ({rows}):")
        print_command(words)
    else:
        print_line("correct the file, and check it again", style="bold red")


def print_columns(columns: list[Facts]) -> None:
    """Print a line for each column of the file, or two if its name is long."""
    heads = ["column", "type", "minimum", "maximum", "missing", "use"]
    rows = [
        [
            shown(each.name),
            each.type,
            "" if each.minimum is None else f"{each.minimum:.6g}",
            "" if each.maximum is None else f"{each.maximum:.6g}",
            f"{each.missing:,}" if each.missing else "",
            each.use + ", constant" * each.constant,
        ]
        for each in columns
    ]
    names = [cell_len(row[0]) for row in rows if cell_len(row[0]) <= LONGEST_NAME]
    widths = [max([len(heads[0]), *names])]
    widths += [max(len(row[i]) for row in [heads, *rows]) for i in range(1, len(heads))]
    for i, row in enumerate([heads, *rows]):
        if cell_len(row[0]) > LONGEST_NAME:
            print_line(row[0])
            row = ["", *row[1:]]
        padded = [
            cell.rjust(width) if 2 <= at <= 4 else cell + " " * (width - cell_len(cell))
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print_line("  ".join(padded).rstrip(), style="" if i else "bold")


def print_wrapped(text: str, indent: str = "") -> None:
    """Print a sentence on lines that fit."""
    for line in textwrap.wrap(
        text, WIDE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ):
        print_line(line)


def print_command(words: list[str]) -> None:
    """Print a command, on several lines if it is long, as a shell reads it."""
    line = "  job train"
    for option in re.findall(r"(--\S+(?:\n(?!--).*)?)", "\n".join(map(shlex.quote, words[2:]))):
        option = option.replace("\n", " ")
        if cell_len(line) + 1 + cell_len(option) > WIDE - 2:
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
        "columns": [
            {name: getattr(each, name) for name in Facts.__dataclass_fields__} for each in found.columns
        ],
        "problems": [as_record(problem) for problem in found.problems],
        "warnings": [as_record(problem) for problem in found.doubts],
        "train_rows": None if dataset is None else len(dataset.train_x),
        "test_rows": None if dataset is None else len(dataset.test_x),
        "command": None if dataset is None else shlex.join(words),
    }


def as_record(problem: Problem) -> dict[str, Any]:
    """A problem as JSON has it."""
    options = [shlex.join(option.words) for option in problem.options]
    return {"text": problem.text, "options": options, "otherwise": problem.else_do or None}
