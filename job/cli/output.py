"""What commands print: rich tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from job.log import UNSEEN, shown

if TYPE_CHECKING:
    from db.schema import VerdictRow

WIDE = 200
"""columns of output that no terminal limits"""


def console() -> Console:
    """A console on stdout: as wide as the terminal, or wide enough for every table in a pipe."""
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON, moments in ISO form."""
    ascii_only = (sys.stdout.encoding or "utf-8").lower() != "utf-8"  # JSON has escapes of its own
    text = json.dumps(value, indent=2, default=lambda moment: moment.isoformat(), ensure_ascii=ascii_only)
    print(re.sub(f"[{UNSEEN}]", lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Print a table, numbers to the right, None as nothing."""
    cells = [["" if cell is None else cell for cell in row] for row in rows]
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, name in enumerate(columns):
        numeric = any(isinstance(row[i], int | float) for row in cells)
        table.add_column(Text(shown(name)), justify="right" if numeric else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(moment(c) if isinstance(c, datetime) else shown(str(c))) for c in row))
    console().print(table)


def print_line(text: str, style: str = "") -> None:
    """Print one line, however long it is."""
    console().print(Text(shown(text), style=style))


def moment(value: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def loss(value: float) -> str:
    """A loss, to eight digits after the point: about what float32 holds."""
    return f"{value:.8f}" if abs(value) < 1e6 else f"{value:.7e}"


def verdict_record(verdict: VerdictRow) -> dict[str, Any]:
    """A verdict as JSON has it."""
    names = ("id", "run_id", "kind", "against_run_id", "passed", "first_epoch", "worst", "tolerance")
    more = ("detail", "created_at", "model", "against_model")
    return {name: getattr(verdict, name) for name in (*names, *more)}


def print_verdict(verdict: VerdictRow) -> None:
    """Print one verdict as a sentence."""
    passed = verdict.passed
    print_line(
        f"{verdict.kind}: {'passed' if passed else 'FAILED'}: {verdict.detail}",
        style="green" if passed else "bold red",
    )
