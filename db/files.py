"""Reads files that a user names, and waits for none."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

LARGEST = 10**9
"""bytes of a file that is read"""


def read_regular(path: Path) -> bytes:
    """What a regular file holds.

    Raises OSError, whose `strerror` says why, if it cannot be read, has more than 1 GB, or is a pipe or a
    device: those may have no end, or no beginning.
    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError(errno.EINVAL, "a pipe or a device, not a regular file", str(path))
    if found.st_size > LARGEST:
        raise OSError(errno.EFBIG, f"{found.st_size / 1e9:.1f} GB; the limit is 1 GB", str(path))
    return path.read_bytes()
