"""What a command tells besides its results: a line of text each, or a line of JSON, on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

SETTING = "JOB_LOG_FORMAT"
"""`text` or `json`; in the environment, so that the processes that a command starts speak alike"""
UNSEEN = "\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""what a terminal does not show, besides what JSON escapes by itself: C1 controls, line separators, changes
of the writing direction, and lone surrogates, which no encoding has"""
_UNSEEN = re.compile(f"[\x00-\x1f{UNSEEN}]")
_bound: dict[str, Any] = {}


def shown(text: str) -> str:
    """The text as one line for a terminal: control characters are escaped as Python escapes them."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def bind(**fields: Any) -> None:
    """Add fields to every JSON line from now on: the run that all of it is about, for one."""
    _bound.update(fields)


def in_json() -> bool:
    """Whether lines are JSON."""
    return os.environ.get(SETTING, "").strip().lower() == "json"


def say(message: str, event: str = "note", **fields: Any) -> None:
    """Tell something that is not a result: the message for a person, event and fields for a program."""
    if not in_json():
        print(f"job: {shown(message)}", file=sys.stderr, flush=True)
        return
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **_bound, **fields}
    print(json.dumps(line | {"message": message}, default=str), file=sys.stderr, flush=True)


def record(message: str, event: str, **fields: Any) -> None:
    """Tell it to programs only: what a person who asked for quiet need not read."""
    if in_json():
        say(message, event, **fields)
