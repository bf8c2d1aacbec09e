"""The `job` command: reads .env, sets the pins, then loads the rest; the pins must come before NumPy."""

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
    """End the process; a short command without Python's teardown of all loaded objects, which takes 0.2 s.

    The store is closed by now. After a training, which may have exit handlers of a model's own, and with Dask
    or other threads, Python exits in the normal way.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # no stream, a broken pipe, or a closed stream
            stream.flush()
    if sys.modules.keys() & {"job.models", "distributed"} or threading.active_count() > 1:
        sys.exit(status)
    os._exit(status)


def main() -> None:
    """Run the command line and end the process with its exit status."""
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
