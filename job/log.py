"""Log lines on stderr, as text or as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

SETTING = "JOB_LOG_FORMAT"
"""`text` or `json`; an environment variable, so that child processes use the same format"""
UNSEEN = "\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""characters that a terminal does not show, besides those that JSON always escapes: C1 controls, line
separators, changes of the writing direction, and lone surrogates, which no encoding has"""
_UNSEEN = re.compile(f"[\x00-\x1f{UNSEEN}]")
_bound: dict[str, Any] = {}


def shown(text: str) -> str:
    """The text as one line for a terminal; control characters are escaped as in Python strings."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def bind(**fields: Any) -> None:
    """Add fields, such as the run's id, to all later JSON lines."""
    _bound.update(fields)


def in_json() -> bool:
    """Whether lines are JSON."""
    return os.environ.get(SETTING, "").strip().lower() == "json"


def say(message: str, event: str = "note", **fields: Any) -> None:
    """Log a message; a JSON line also has the event and the fields."""
    if not in_json():
        print(f"job: {shown(message)}", file=sys.stderr, flush=True)
        return
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **_bound, **fields}
    print(json.dumps(line | {"message": message}, default=str), file=sys.stderr, flush=True)


def record(message: str, event: str, **fields: Any) -> None:
    """Log a message only in JSON, for what a quiet command omits in text."""
    if in_json():
        say(message, event, **fields)
