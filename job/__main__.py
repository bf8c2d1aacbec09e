"""The `job` command: settings first, then the pins, and only then anything that loads NumPy."""

import os
import sys
from pathlib import Path
from typing import NoReturn


def refuse(message: str) -> int:
    """Say what is wrong with what the user gave; the exit status for it."""
    print(f"job: error: {message}", file=sys.stderr)
    return 2


def leave(status: int) -> NoReturn:
    """End the process; where it has trained, without taking Paddle down object by object.

    By now the store is closed and all is printed: that would last a fifth of a second and save nothing.
    """
    if "paddle" in sys.modules:
        os._exit(status)
    sys.exit(status)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    from dotenv import load_dotenv

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us: what is printed goes nowhere
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    try:
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
