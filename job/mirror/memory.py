"""How many points of each chart the dashboard can hold in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

POINT = 1_000
"""bytes that VisualDL's server needs for a point of a scalar, measured"""
SHARE = 0.5
"""of the available memory may be used for points"""
FEWEST = 1_000
"""points per chart; VisualDL's default"""
ALL = 0
UNLIMITED = 1 << 60


def affordable_points(epochs: Iterable[int], available: int) -> int:
    """Points per chart that fit in `available` bytes, for logs of these `epochs` and two charts each.

    ALL if every point of every log fits, else the largest sample that does, but at least FEWEST.
    """
    lengths = sorted(epochs)
    room = int(SHARE * available / (2 * POINT))
    if sum(lengths) <= room:
        return ALL
    for i, length in enumerate(lengths):  # short logs leave room for the long ones
        share = room // (len(lengths) - i)
        if length > share:
            return max(FEWEST, share)
        room -= length
    return ALL


def available_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Available bytes: the machine's, or what is left of a container's limit if that is less."""
    free = UNLIMITED
    for line in lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = lines(cgroup / "memory.max"), lines(cgroup / "memory.current")
    if limit and used and limit[0] != "max":
        free = min(free, int(limit[0]) - int(used[0]))
    return max(0, free)


def lines(path: Path) -> list[str]:
    """The lines of a kernel file; none if this system does not have it."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
