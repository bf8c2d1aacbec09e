"""Identifies a process, so that another one on the same machine can tell whether it is alive."""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path

PROC = Path("/proc")


def new_token() -> str:
    """A unique token that says where this process can be found.

    `unique@place:pid:start`; the place is empty if the system cannot tell (not Linux).
    """
    pid = os.getpid()
    return f"{uuid.uuid4().hex}@{_place()}:{pid}:{_stat(pid)[1]}"


def is_dead(token: str | None) -> bool:
    """Whether the token's process is known to be dead; False if that cannot be known from here."""
    return _state(token) == ""


def is_alive(token: str | None) -> bool:
    """Whether the token's process is running; False if it is stopped or not visible from here."""
    return _state(token) not in (None, "", "T", "t")


def _state(token: str | None) -> str | None:
    """The state letter of a process; empty if it is gone or a zombie, None if it is not visible from here."""
    if not token or "@" not in token:
        return None
    place, pid, start = token.partition("@")[2].rsplit(":", 2)
    if not place or place != _place():
        return None
    state, found = _stat(int(pid))
    if not found and _is_hidden(int(pid)):
        return None
    return state if found == start and state not in ("Z", "X") else ""


def _is_hidden(pid: int) -> bool:
    """Whether /proc does not show a process of that number although there is one (option hidepid)."""
    try:
        os.kill(pid, 0)  # sends nothing
    except OSError as error:
        return isinstance(error, PermissionError)
    return False


def _place() -> str:
    """The machine, boot and PID namespace of this process; empty if the system cannot tell."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        view = str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
    return f"{platform.node()}/{boot}/{view.rpartition('[')[2].rstrip(']')}"


def _stat(pid: int) -> tuple[str, str]:
    """A process's state letter and its start in clock ticks since boot; empty if there is none.

    The system reuses process numbers; the start time tells the processes apart. Fields 3 and 22 of
    /proc/pid/stat, see proc_pid_stat(5).
    """
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
