"""Names a process so that a later one on the same machine can tell whether it still lives."""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path

PROC = Path("/proc")


def new_token() -> str:
    """A token that no other process has, and that says where its own can be found.

    `unique@place:pid:start`; the place is empty where the system cannot tell (not Linux).
    """
    pid = os.getpid()
    return f"{uuid.uuid4().hex}@{_place()}:{pid}:{_stat(pid)[1]}"


def is_gone(token: str | None) -> bool:
    """Whether the token's process is known to be dead. False where that cannot be known from here."""
    return _state(token) == ""


def is_alive(token: str | None) -> bool:
    """Whether the token's process is seen to run. False where it is stopped, or cannot be seen from here."""
    return _state(token) not in (None, "", "T", "t")


def _state(token: str | None) -> str | None:
    """The letter of a process's state, empty for one that is gone, None where it cannot be seen from here."""
    if not token or "@" not in token:
        return None
    place, pid, start = token.partition("@")[2].rsplit(":", 2)
    if not place or place != _place():
        return None
    state, found = _stat(int(pid))
    return state if found == start else ""


def _place() -> str:
    """The machine since its start, and the view of process numbers (a container's) of this process."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        view = str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
    return f"{platform.node()}/{boot}/{view.rpartition('[')[2].rstrip(']')}"


def _stat(pid: int) -> tuple[str, str]:
    """A process's state, and when it started, in clock ticks since the machine did; empty when there is none.

    A number may be given to a new process once the old one is gone; the start tells them apart. Fields 3 and
    22 of /proc/pid/stat, proc_pid_stat(5); a zombie counts as gone.
    """
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return ("", "") if fields[0] in "ZX" else (fields[0], fields[19])
