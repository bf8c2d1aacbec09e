"""Reads files that a user names, and never blocks on one."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

LARGEST = 10**9
"""largest size of a file that is read, in bytes"""


def read_regular(path: Path) -> bytes:
    """The content of a regular file.

    Raises OSError, whose `strerror` gives the reason, if it cannot be read, is larger than 1 GB, or is a pipe
    or a device: reading those may never begin or end.
    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError(errno.EINVAL, "a pipe or a device, not a regular file", str(path))
    if found.st_size > LARGEST:
        raise OSError(errno.EFBIG, f"{found.st_size / 1e9:.1f} GB; the limit is 1 GB", str(path))
    return path.read_bytes()
