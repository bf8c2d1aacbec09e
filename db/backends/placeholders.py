"""Finds the `:name` parameters of a query, except in `::casts`, strings and comments."""

from __future__ import annotations

import re
from collections.abc import Callable

_TOKEN = re.compile(
    r"""
      --[^\n]*                          # comment to the end of the line
    | /\*.*?\*/                         # comment
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$   # PostgreSQL's dollar-quoted text
    | [eE]'(?:[^'\\]|\\.|'')*'          # PostgreSQL's text with escapes
    | '(?:[^']|'')*'                    # text
    | "(?:[^"]|"")*"                    # quoted name
    | ::                                # PostgreSQL's cast
    | :(?P<name>[A-Za-z_]\w*)           # what we look for
    """,
    re.VERBOSE | re.DOTALL,
)


def names(sql: str) -> list[str]:
    """The parameters of a query, each once, in order of first appearance."""
    found = (match["name"] for match in _TOKEN.finditer(sql))
    return list(dict.fromkeys(name for name in found if name))


def replace(sql: str, value: Callable[[str], str]) -> str:
    """The query with each parameter replaced by `value(name)`."""
    return _TOKEN.sub(lambda match: value(match["name"]) if match["name"] else match[0], sql)
