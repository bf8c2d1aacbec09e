"""Log lines on stderr, as text or as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

FORMAT_VARIABLE = "JOB_LOG_FORMAT"
"""`text` or `json`; an environment variable, so that child processes use the same format"""
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control and format characters (writing direction, zero width), lone surrogates, and
line separators"""
JOINERS = "\u200c\u200d"
"""format characters that emoji, Persian and Indian scripts need"""
_bound: dict[str, Any] = {}


def shown(text: str, escape: Callable[[str], str] = ascii, keep: str = JOINERS) -> str:
    """The text as one line for a terminal; characters that it does not show are escaped as in Python strings.

    `escape` gives the quoted form of another language. Characters in `keep` stay.
    """

    def seen(found: re.Match[str]) -> str:
        letter = found[0]
        hidden = unicodedata.category(letter) in UNSEEN and letter not in keep
        return escape(letter)[1:-1] if hidden else letter

    return re.sub("[^ -~]", seen, text)


def bind(**fields: Any) -> None:
    """Add fields, such as the run's id, to all later JSON lines."""
    _bound.update(fields)


def in_json() -> bool:
    """Whether lines are JSON."""
    return os.environ.get(FORMAT_VARIABLE, "").strip().lower() == "json"


def log_line(message: str, event: str = "note", **fields: Any) -> None:
    """Log a message; a JSON line also has the event and the fields."""
    if not in_json():
        print(f"job: {shown(message)}", file=sys.stderr, flush=True)
        return
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **_bound, **fields}
    print(json.dumps(line | {"message": message}, default=str), file=sys.stderr, flush=True)


def log_event(message: str, event: str, **fields: Any) -> None:
    """Log a message only in JSON, for what a quiet command omits in text."""
    if in_json():
        log_line(message, event, **fields)
