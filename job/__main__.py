"""The `job` command: reads .env, sets the pins, then loads the rest; the pins must come before NumPy."""

import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn


def refuse(message: str) -> int:
    """Print an input error; return its exit status."""
    print(f"job: error: {message}", file=sys.stderr)
    return 2


def leave(status: int) -> NoReturn:
    """End the process without Python's teardown of all loaded objects, which takes 0.2 s and more.

    The store is closed by now. With a model of the user's, which may have exit handlers and open files, and
    with Dask or other threads, Python exits in the normal way.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # no stream, a broken pipe, or a closed stream
            stream.flush()
    loading = sys.modules.get("job.models.loading")
    others = loading and loading.others
    if others or "distributed" in sys.modules or threading.active_count() > 1:
        sys.exit(status)
    os._exit(status)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    gc.set_threshold(100_000)  # imported objects last; at 700, scanning them is a sixth of a short command
    # Child processes must not import modules from the user's current directory.
    os.environ["PYTHONSAFEPATH"] = "1"
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process: discard the output
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")  # if the locale cannot encode a character
    try:
        if os.path.lexists(".env") and not Path(".env").is_dir():  # the import takes time
            if Path(".env").is_fifo():
                sys.exit(refuse(".env is a pipe; it must be a file"))
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
