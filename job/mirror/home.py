"""A home directory for VisualDL, which writes settings there when it is imported."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def ensure_home() -> None:
    """Set HOME to a directory of our own if the user has none that is writable."""
    home = Path.home() if os.environ.get("HOME") else None
    if home and home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return
    own = Path(tempfile.gettempdir()) / f"epoch-ledger-{os.getuid()}"
    with suppress(FileExistsError):
        own.mkdir(mode=0o700)
    # Another user may have made it: its name can be guessed.
    found = own.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    os.environ["HOME"] = str(own) if ours else tempfile.mkdtemp(prefix=f"{own.name}-")
