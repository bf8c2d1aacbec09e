"""What a command tells besides its results: a line of text each, or a line of JSON, on stderr."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

SETTING = "JOB_LOG_FORMAT"
"""`text` or `json`; in the environment, so that the processes that a command starts speak alike"""
_bound: dict[str, Any] = {}


def bind(**fields: Any) -> None:
    """Add fields to every JSON line from now on: the run that all of it is about, for one."""
    _bound.update(fields)


def in_json() -> bool:
    """Whether lines are JSON."""
    return os.environ.get(SETTING, "").strip().lower() == "json"


def say(message: str, event: str = "note", **fields: Any) -> None:
    """Tell something that is not a result: the message for a person, event and fields for a program."""
    if not in_json():
        print(f"job: {message}", file=sys.stderr, flush=True)
        return
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **_bound, **fields}
    print(json.dumps(line | {"message": message}, default=str), file=sys.stderr, flush=True)


def record(message: str, event: str, **fields: Any) -> None:
    """Tell it to programs only: what a person who asked for quiet need not read."""
    if in_json():
        say(message, event, **fields)
