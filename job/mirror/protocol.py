"""Progress that a follower writes for the trainer: lines of a model, its epochs drawn and stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

Progress = Callable[[str, int, int], None]


def write_progress(model: str, drawn: int, stored: int) -> None:
    """Write a line to standard output; do nothing if the trainer has gone."""
    with suppress(OSError):
        os.write(1, f"{model} {drawn} {stored}\n".encode())


def read_progress(text: bytes, on_progress: Progress) -> bytes:
    """Call `report` for every whole line of `text`; return the rest."""
    *lines, rest = text.split(b"\n")
    for line in lines:
        model, drawn, stored = line.decode().split(" ")
        on_progress(model, int(drawn), int(stored))
    return rest
