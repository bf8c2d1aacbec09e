"""Trains the default run in many environments, and tables which of them give the digests that README states.

    python -m tests.matrix               # every row; writes the table into docs/reproducibility.md
    python -m tests.matrix --only numpy  # the rows with this in their name; prints the table

Each row has a virtual environment of the locked packages, with other versions of NumPy or Paddle in place of
the locked ones, and trains with the code of this checkout. Versions, kernel and threads in the table are as
the run recorded them. The digests are computed again from the stored numbers.
"""

from __future__ import annotations

from job.pins import KERNELS, PIN_VARIABLE, THREADS, pin

pin()

import argparse  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
import re  # noqa: E402
import signal  # noqa: E402
import sqlite3  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Sequence  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from functools import cache, partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NamedTuple  # noqa: E402

from benchmarks.databases import new_database, postgresql, server_version  # noqa: E402
from db.digest import digest_of  # noqa: E402
from db.history import History  # noqa: E402
from db.store import Store  # noqa: E402
from job.environment import environment  # noqa: E402
from job.verdicts.gap import difference  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reproducibility.md"
BEGIN, END = "<!-- written by make matrix -->\n", "<!-- end of what make matrix writes -->"
HEADER = (
    "Python",
    "NumPy",
    "Paddle",
    "kernel",
    "threads",
    "database",
    "how",
    "paddle",
    "python",
    "promised?",
)
NOT_INSTALLED = "cannot be installed"
PYTHONS = ("3.11", "3.12", "3.13")
PINS = THREADS | KERNELS
EPOCHS = 10_000
LEFT_OUT = ("JOB_", "PYTHON", "OPENBLAS_", "MKL_", "OMP_")
"""how the names of variables begin that a training does not inherit"""


@dataclass(frozen=True)
class Row:
    """One environment, and how the default run is trained in it."""

    python: str = PYTHONS[0]
    packages: tuple[str, ...] = ()
    """requirements that take the place of the locked ones"""
    database: str = "SQLite"
    kills: int = 0
    how: str = ""
    """what `settings` change"""
    settings: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def pinned(self) -> bool:
        """Whether the row has the pins, so that the promise is about it."""
        return not self.settings

    @property
    def training(self) -> str:
        """The cell that says how the run was trained."""
        return self.how or (f"killed {self.kills} times" if self.kills else "at once")

    @property
    def name(self) -> str:
        """The row in a few words."""
        more = "" if self.training == "at once" else self.training
        database = "" if self.database == "SQLite" else self.database
        return ", ".join(filter(None, (f"Python {self.python}", *self.packages, database, more)))


class Result(NamedTuple):
    """What a row came to."""

    environment: dict[str, Any]
    """as the run recorded it"""
    parameters: Sequence[str]
    digests: dict[str, str]
    """by model, as computed from the stored numbers"""
    histories: dict[str, History]
    """by model"""


def unpinned(how: str, **settings: str | None) -> Row:
    """A row with the pins but for these variables; None unsets one."""
    changed = {name: value for name, value in (PINS | settings).items() if value is not None}
    return Row(how=how, settings={PIN_VARIABLE: "0"} | changed)


def rows() -> Iterator[Row]:
    """The table. The first row is the run whose digests README states."""
    for python in PYTHONS:
        yield Row(python)
    for version in ("1.26.4", "2.0.2", "2.1.3", "2.2.6", "2.3.5", "2.5.5"):
        yield Row(packages=(f"numpy=={version}",))
    for python in PYTHONS[1:]:
        for version in ("2.2.6", "2.3.5", "2.4.6"):
            yield Row(python, (f"numpy=={version}",))
    for python in PYTHONS:
        yield Row(python, ("paddlepaddle==3.0.0", "astor==0.8.1", "decorator==5.2.1"))
        for version in ("3.1.1", "3.2.2"):
            yield Row(python, (f"paddlepaddle=={version}",))
    yield Row(packages=("numpy==2.2.6", "paddlepaddle==3.2.2"))
    yield Row(kills=5)
    yield Row(database="PostgreSQL")
    yield Row(database="PostgreSQL", kills=5)
    yield unpinned("2 threads", **dict.fromkeys(THREADS, "2"))
    yield unpinned("MKL_CBWR unset", MKL_CBWR=None)
    yield unpinned("Sandybridge", OPENBLAS_CORETYPE="Sandybridge")
    yield Row(how="pins lifted", settings={PIN_VARIABLE: "0"})


def stated(page: Path) -> dict[str, str]:
    """The digests that stand in a page on lines of their own, by model."""
    return dict(re.findall(r"^(\w+) +([0-9a-f]{64})$", page.read_text(), re.MULTILINE))


# -- environments --------------------------------------------------------------------------------


def uv(*words: object) -> None:
    """Run uv, which finds pyenv's Pythons too. Prints its error and raises RuntimeError if it fails."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    path = os.pathsep.join([os.environ["PATH"], *map(str, sorted(pyenv.glob("versions/3.*/bin")))])
    command = [str(Path(sys.executable).with_name("uv")), "--quiet", *map(str, words)]
    done = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        raise RuntimeError(NOT_INSTALLED)


def install(place: Path, python: str, packages: tuple[str, ...]) -> Path:
    """The Python of a new environment: of the locked packages, `packages` replaced. Raises RuntimeError."""
    directory = Path(tempfile.mkdtemp(dir=place))
    uv("venv", "--python", python, directory)
    into = ("pip", "install", "--python", directory, "--no-deps")
    uv(*into, "--require-hashes", "-r", ROOT / "requirements.lock")
    if packages:
        uv(*into, "--only-binary", ":all:", *packages)
    return directory / "bin" / "python"


# -- training ------------------------------------------------------------------------------------


def train(row: Row, python: Path, url: str) -> Result:
    """Train the default run as the row says. Raises RuntimeError with the last line of a training's error."""
    inherited = {name: os.environ[name] for name in os.environ if not name.startswith(LEFT_OUT)}
    variables = inherited | {"PYTHONPATH": str(ROOT)} | row.settings
    with Store(url, create=True) as store, tempfile.TemporaryDirectory() as directory:
        for part in range(1, row.kills + 2):
            words = ("resume", "1") if part > 1 else ("train",)
            command = [str(python), "-m", "job", *words, "--no-mirror", "--database-url", url]
            stop_at = 2 * EPOCHS * part // (row.kills + 1) if part <= row.kills else None
            run_once(command, directory, variables, partial(stored, store), stop_at)
        return result_of(store, row.kills)


def result_of(store: Store, kills: int) -> Result:
    """What run 1 of a store came to. Raises RuntimeError if a digest is not that of the stored numbers."""
    run = store.run(1)
    if run.resumes != kills:
        raise RuntimeError(f"resumed {run.resumes} times instead of {kills}")
    histories = {model.name: store.history(1, model.name) for model in run.models}
    digests = {name: digest_of(run.parameter_names, each) for name, each in histories.items()}
    if digests != {model.name: model.digest for model in run.models}:
        raise RuntimeError("a stored digest is not that of the stored numbers")
    return Result(run.environment, run.parameter_names, digests, histories)


def run_once(
    command: list[str],
    directory: str,
    variables: dict[str, str],
    epochs: Callable[[], int],
    stop_at: int | None,
) -> None:
    """Run a training to its end; or, with `stop_at`, until so many epochs are stored, and kill it."""
    with subprocess.Popen(
        command, cwd=directory, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while stop_at and process.poll() is None and epochs() < stop_at:
            time.sleep(0.01)
        if stop_at:
            process.kill()
        _, errors = process.communicate()
    if process.returncode != (-signal.SIGKILL if stop_at else 0):
        raise RuntimeError(
            errors.strip().splitlines()[-1] if errors.strip() else f"exit {process.returncode}"
        )


def stored(store: Store) -> int:
    """How many epochs of both models of run 1 are stored."""
    return sum(store.progress(1).values())


# -- the table -----------------------------------------------------------------------------------


def outcome(result: Result, promise: dict[str, str], promised: Result | None) -> str:
    """`yes`, or which models differ from the promise; from which epoch, if `promised` has its histories."""
    differing = []
    for model, digest in result.digests.items():
        if digest == promise.get(model):
            continue
        differing.append(model)
        if promised:
            gap = difference(promised.histories[model], result.histories[model], result.parameters, ("", ""))
            differing[-1] += f" from epoch {gap.first_epoch:,}"
    return "no: " + ", ".join(differing) if differing else "yes"


def cells(row: Row, result: Result | None, said: str) -> list[str]:
    """A line of the table; without a result, what was asked for."""
    if result is None:
        wanted = dict(package.split("==") for package in row.packages)
        packages = [wanted.get(name, "locked") for name in ("numpy", "paddlepaddle")]
        return [row.python, *packages, "", "", row.database, row.training, "", "", said]
    found = result.environment
    kernel = next((library["kernel"] for library in found["blas"] if library["library"] == "openblas"), "")
    threads = max(found["threads"].values())
    digests = [f"`{result.digests[model][:12]}`" for model in ("paddle", "python")]
    versions = [found["python"], found["packages"]["numpy"], found["packages"]["paddlepaddle"]]
    return [*versions, kernel, str(threads), row.database, row.training, *digests, said]


def markdown(table: list[list[str]]) -> str:
    """The table as Markdown, its columns aligned."""
    lines = [list(HEADER), *table]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def write(text: str, page: Path = PAGE) -> None:
    """Put the text between the two marks of the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def main() -> int:
    """Run the table, or some rows of it; exit status 1 if a row with the pins has other digests or none."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--only", metavar="TEXT", default="", help="the rows whose name holds TEXT")
    only = options.parse_args().only.lower()
    promise = stated(ROOT / "README.md")
    first, *others = rows()  # the first always runs: the first differing epochs are found by its histories
    promised = None
    table, broken = [], 0
    # Beside .venv, since uv can link its packages there from its cache instead of copying them.
    with tempfile.TemporaryDirectory(prefix=".venv-matrix-", dir=ROOT) as place, postgresql() as server:
        python_of = cache(partial(install, Path(place)))
        for number, row in enumerate([first, *(row for row in others if only in row.name.lower())]):
            url = new_database(server) if row.database == "PostgreSQL" else f"sqlite:///{place}/{number}.db"
            result = None
            try:
                result = train(row, python_of(row.python, row.packages), url)
                said = outcome(result, promise, promised)
            except RuntimeError as error:
                said = str(error)
            if result and result.digests == promise:
                promised = result
            broken += row.pinned and said not in ("yes", NOT_INSTALLED)
            table.append(cells(row, result, said))
            print(f"{row.name}: {said}", file=sys.stderr, flush=True)
        versions = f"SQLite {sqlite3.sqlite_version}, PostgreSQL {server_version(server)}"
        machine = f"{environment()['cpu']}, {platform.machine()}, {' '.join(platform.libc_ver())}"
        text = f"On {machine}, {versions}, {datetime.now(UTC):%Y-%m-%d}:\n\n{markdown(table)}"
        if only:
            print(text)
        else:
            write(text)  # before the environments are removed, which takes a while
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
