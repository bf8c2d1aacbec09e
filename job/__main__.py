"""The `job` command: settings first, then the pins, and only then anything that loads NumPy."""

import sys


def refuse(message: str) -> int:
    """Say what is wrong with what the user gave; the exit status for it."""
    print(f"job: error: {message}", file=sys.stderr)
    return 2


def main() -> None:
    """Run the command line and end the process with its exit status."""
    from dotenv import load_dotenv

    try:
        load_dotenv(".env")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(refuse(f".env cannot be read: {error}"))
    from job.pins import pin

    pin()
    from job.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
