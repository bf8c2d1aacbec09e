"""The `job` command: settings first, then the pins, and only then anything that loads NumPy."""

import sys


def main() -> None:
    """Run the command line and end the process with its exit status."""
    from dotenv import load_dotenv

    load_dotenv(".env")
    from job.pins import pin

    pin()
    from job.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
