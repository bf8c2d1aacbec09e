"""Trials of a bisect: a run's beginning, trained in an environment that `uv` builds of recorded versions."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from db.schema import RunRow
from db.specification import Specification
from db.store import Store
from job.data.reading import Reading
from job.environment import SOURCE, environment, environment_changes, flat
from job.errors import BisectError
from job.models.reference import reference_of
from job.output_files import write
from job.pins import KERNELS, PIN_VARIABLE, THREADS

OURS = ("job", "db", "migrations", "data")
"""the folders of this project, whose present code trains in every trial"""
OWN = "packages epoch-ledger"
READY = ".ready"
"""a file that an environment has if no change of its packages was broken off"""

Settings = Mapping[str, str]
"""what a trial can set: `python`, each `packages NAME` and each `pins VARIABLE`, as `flat` names them"""


class UnresolvedError(Exception):
    """A trial has no result. The message is the reason, in one line."""


class FailedError(UnresolvedError):
    """A trial's training failed, as it would again."""


def settings_of(recorded: Mapping[str, object]) -> dict[str, str]:
    """What a trial can set of an environment."""
    return {
        name: value
        for name, value in flat(dict(recorded)).items()
        if name == "python" or (name.startswith(("packages ", "pins ")) and name != OWN)
    }


def find_uv() -> str:
    """The path of `uv`: of this Python's environment, or on the PATH. Raises BisectError."""
    places = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    found = shutil.which("uv", path=os.pathsep.join(places))
    if found is None:
        raise BisectError("bisect builds environments with uv, which is not installed: pip install uv")
    return found


@dataclass(frozen=True)
class Trials:
    """Trains the beginning of a run of this specification in many environments, each set of versions once."""

    directory: Path
    """absolute; holds the environments, `results.json` and the last trial's store"""
    uv: str
    run: RunRow
    data: Path
    """the run's file, absolute"""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the directory in this context. Raises BisectError if it cannot be had."""
        lock = FileLock(self.directory / "lock", timeout=0)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise BisectError(f"another bisect works in {self.directory}; name another --work") from None
        except OSError as error:
            raise BisectError(f"--work {self.directory}: {error.strerror}") from None
        with lock:
            yield

    @cached_property
    def results(self) -> dict[str, dict[str, str]]:
        """What earlier trials came to, by the key of their settings: a `digest`, or why one `failed`."""
        try:
            return dict(json.loads((self.directory / "results.json").read_bytes()))
        except (FileNotFoundError, ValueError):
            return {}

    @cached_property
    def trained(self) -> dict[str, object]:
        """What decides the bits besides settings and epochs: the specification, the code and the CPU."""
        run, code = self.run, sha256()
        for path in sorted(path for name in ("job", "db") for path in (SOURCE / name).rglob("*.py")):
            code.update(path.read_bytes())
        return {
            "data": [run.dataset.sha256, run.dataset.target, run.dataset.reading],
            "settings": [run.learning_rate, run.seed],
            "models": [model.compared for model in Specification.of(run).models],
            "code": code.hexdigest(),
            "cpu": environment()["cpu"],
        }

    def key(self, settings: Settings, model: str, epochs: int) -> str:
        """The key of a trial in `results`."""
        about = self.trained | {"model": model, "epochs": epochs, "environment": dict(settings)}
        return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def digest(self, settings: Settings, model: str, epochs: int) -> str:
        """The digest of a model's first epochs with these settings. Raises UnresolvedError."""
        key = self.key(settings, model, epochs)
        if key not in self.results:
            self.build(settings)
            try:
                self.results[key] = {"digest": self.train(settings, model, epochs)}
            except FailedError as failure:
                self.results[key] = {"failed": str(failure)}
            write(self.directory / "results.json", json.dumps(self.results, indent=1).encode())
        if "failed" in self.results[key]:
            raise FailedError(self.results[key]["failed"])
        return self.results[key]["digest"]

    # -- environments ----------------------------------------------------------------------------

    def home(self, python: str) -> Path:
        """The environment of that Python version, made if it is missing. Raises UnresolvedError."""
        home = self.directory / f"python-{python}"
        if not (home / READY).exists():
            own = python == platform.python_version()
            self.execute("venv", "--clear", "--python", sys.executable if own else python, str(home))
            (home / READY).touch()
        return home

    def build(self, settings: Settings) -> None:
        """Give the environment exactly the packages of the settings. Raises UnresolvedError."""
        home = self.home(settings["python"])
        write(self.requirements(settings), "".join(f"{line}\n" for line in pinned(settings)).encode())
        (home / READY).unlink()
        self.execute(*self.sync(settings)[1:])
        (home / READY).touch()

    def requirements(self, settings: Settings) -> Path:
        """The file that lists the packages of the settings, by its content."""
        name = sha256("\n".join(pinned(settings)).encode()).hexdigest()[:12]
        return self.directory / "requirements" / f"{name}.txt"

    def sync(self, settings: Settings) -> list[str]:
        """The command that gives the environment exactly these packages; no version is resolved."""
        home, listed = self.directory / f"python-{settings['python']}", self.requirements(settings)
        return [self.uv, "pip", "sync", "--python", str(home), str(listed)]

    def execute(self, *words: str) -> None:
        """Run `uv`. Raises UnresolvedError with its error in one line."""
        done = subprocess.run([self.uv, "--quiet", *words], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            error = " ".join(done.stderr.replace("╰─▶", " ").split())
            raise UnresolvedError(f"cannot be built: {error.removeprefix('error: ')[:500]}")

    # -- training --------------------------------------------------------------------------------

    def train(self, settings: Settings, model: str, epochs: int) -> str:
        """The digest after training in the environment, which is built. Raises FailedError."""
        database = self.directory / "trial.db"
        database.unlink(missing_ok=True)
        inherited = {name: os.environ[name] for name in os.environ if not name.startswith(("JOB_", "PYTHON"))}
        done = subprocess.run(  # noqa: S603
            self.training(settings, model, epochs),
            cwd=self.directory,  # without a .env
            env=inherited,
            capture_output=True,
            text=True,
            check=False,
        )
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        last = last.removeprefix("job: error: ")
        if not database.exists():
            raise FailedError(f"cannot train: {last}")
        with Store(f"sqlite:///{database}") as store:
            runs = store.runs()
            if not runs or runs[0].status != "completed":
                raise FailedError(f"cannot train: {(runs and runs[0].stop_reason) or last}")
            if other := environment_changes(dict(settings), settings_of(runs[0].environment)):
                raise FailedError(f"another environment than asked for: {'; '.join(map(str, other))}")
            return next(str(each.digest) for each in runs[0].models if each.name == model)

    def training(self, settings: Settings, model: str, epochs: int) -> list[str]:
        """The command that trains a model's first epochs, and the first model, which gives the start."""
        models = dict.fromkeys([self.run.models[0].name, model])
        references = {each.name: reference_of(each) for each in self.run.models}
        variables = {name: settings.get(f"pins {name}") for name in (*THREADS, *KERNELS)}
        table = self.run.dataset
        python = self.directory / f"python-{settings['python']}" / "bin" / "python"
        return [
            "env",
            *(word for name, value in variables.items() if value is None for word in ("-u", name)),
            *(f"{name}={value}" for name, value in variables.items() if value is not None),
            f"{PIN_VARIABLE}=0",
            f"PYTHONPATH={self.source()}",
            *(str(python), "-P", "-m", "job", "train"),
            *("--data", str(self.data), "--target", table.target, *Reading.of(table.reading).words),
            *("--epochs", str(epochs), "--learning-rate", repr(self.run.learning_rate)),
            *("--seed", str(self.run.seed)),
            *(word for name in models for word in ("--model", references[name])),
            *("--no-mirror", "--database-url", f"sqlite:///{self.directory / 'trial.db'}"),
        ]

    def source(self) -> Path:
        """A directory with links to this project's folders alone: beside them may lie installed packages."""
        directory = self.directory / "source"
        directory.mkdir(exist_ok=True)
        for name in OURS:
            link = directory / name
            link.unlink(missing_ok=True)
            link.symlink_to(SOURCE / name)
        return directory

    def reproducing(self, settings: Settings, model: str, epochs: int) -> str:
        """The line of a shell that trains with these settings, in the environment made of their packages."""
        return f"{shlex.join(self.sync(settings))} && {shlex.join(self.training(settings, model, epochs))}"


def pinned(settings: Settings) -> Sequence[str]:
    """The requirements of the settings' packages."""
    names = sorted(name for name in settings if name.startswith("packages "))
    return [f"{name.removeprefix('packages ')}=={settings[name]}" for name in names]
