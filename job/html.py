"""HTML pages that work offline, from the templates in `job/templates`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from job import __version__

LONGEST_UNBROKEN = 24
"""characters of a number or a date"""


def rendered(template: str, **values: Any) -> str:
    """A template with these values, as HTML."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    pages = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pages.filters |= {"moment": moment, "cell": cell, "unbroken": unbroken}
    return pages.get_template(template).render(version=__version__, now=datetime.now(UTC), **values)


def cell(value: Any) -> str:
    """One value as text, numbers to six significant digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    return "" if value is None else str(value)


def moment(value: datetime | None) -> Markup:
    """A moment as HTML that is not broken."""
    text = "" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<span class="n">{}</span>').format(text)


def unbroken(text: str) -> Markup:
    """The text as HTML in which no number is broken at a hyphen."""
    parts = re.split(r"(\S*(?:\d-|-\d)\S*)", text)
    return Markup("").join(
        Markup('<span class="n">{}</span>').format(part) if i % 2 and len(part) <= LONGEST_UNBROKEN else part
        for i, part in enumerate(parts)
    )
