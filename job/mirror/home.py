"""A home directory for VisualDL, which writes settings into one as soon as it is imported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def ensure_home() -> None:
    """Point HOME at a directory of our own where the user has none that can be written."""
    home = Path.home() if os.environ.get("HOME") else None
    if home and home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return
    own = Path(tempfile.gettempdir()) / f"epoch-ledger-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    os.environ["HOME"] = str(own)
