"""The `job` command: settings first, then the pins, and only then anything that loads NumPy."""

import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

RELAXED = 50_000
"""new objects before the next look for garbage, in every command, instead of 700: an import makes ten
thousands, hardly any of them garbage, and looking costs a short command a twentieth of its time"""


def refuse(message: str) -> int:
    """Say what is wrong with what the user gave; the exit status for it."""
    print(f"job: error: {message}", file=sys.stderr)
    return 2


def leave(status: int) -> NoReturn:
    """End the process without taking down, object by object, what it has loaded.

    By now the store is closed and all is printed: that would last a fifth of a second and save nothing.
    Threads that are still at work, and Dask, end in Python's own way, but not where Paddle is loaded.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, one whose reader is gone, a closed one
            stream.flush()
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    if "paddle" not in sys.modules and ("distributed" in sys.modules or any(not t.daemon for t in others)):
        sys.exit(status)
    os._exit(status)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    gc.set_threshold(RELAXED)
    # For the processes that we start: modules in the user's current directory are no modules of ours.
    os.environ["PYTHONSAFEPATH"] = "1"
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us: what is printed goes nowhere
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")  # what the locale cannot write
    try:
        if os.path.lexists(".env"):  # else the import would be for nothing
            from dotenv import load_dotenv

            load_dotenv(".env")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(refuse(f".env cannot be read: {error}"))
    from job.pins import pin

    pin()
    try:
        from job.cli import run
    except KeyboardInterrupt:
        print("job: error: interrupted", file=sys.stderr)
        sys.exit(130)
    leave(run())


if __name__ == "__main__":
    main()
