"""What a follower tells the trainer that waits for it: lines of a model, its epochs drawn and stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

Progress = Callable[[str, int, int], None]


def write_progress(model: str, drawn: int, stored: int) -> None:
    """Tell the trainer at the other end of our standard output; one that is gone does not matter."""
    with suppress(OSError):
        os.write(1, f"{model} {drawn} {stored}\n".encode())


def read_progress(text: bytes, report: Progress) -> bytes:
    """Report every whole line of `text`; gives back what is left."""
    *lines, rest = text.split(b"\n")
    for line in lines:
        model, drawn, stored = line.decode().split(" ")
        report(model, int(drawn), int(stored))
    return rest
