"""A bisect finds the package or setting that changed the bits, and says so where it cannot know."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from db.store import Store
from job.bisect import Question, bisect, questions
from job.bisect.trials import Settings, Trials, UnresolvedError, find_uv
from job.cli import run
from job.data.dataset import DEFAULT_DATA
from job.environment import ABSENT, Change
from job.errors import UnexplainedError
from job.pins import KERNELS, THREADS
from tests import wheels
from tests.conftest import ROOT, Job, job_command
from tests.samples import execute, history, run_row, start, write_csv

Output = pytest.CaptureFixture[str]
EPOCHS, FIRST = 20, 12
MINE = """
import os
import numpy as np
import plain
from db.history import History
from job.models.base import LinearRegression
from rounding import rounded

class Mine(LinearRegression):
    def advance(self, epochs):
        history = History.empty(epochs, len(self.parameters), self.epoch)
        for i in range(epochs):
            error = self.train_x @ self.parameters[:-1] + self.parameters[-1] - self.train_y[:, 0]
            history.train_loss[i] = history.test_loss[i] = np.mean(error * error)
            step = np.append(self.train_x.T @ error, error.sum()) * (2 * self.learning_rate / len(error))
            self.parameters[:] = rounded(self.parameters - step, self.epoch) + int(os.environ.get("SHIFT", 0))
            history.parameters[i] = self.parameters
            history.trained_at[i] = 1.8e9
            self.epoch += 1
        return history
"""
ROUNDING = "LATE = {}\ndef rounded(values, epoch):\n    return values if epoch < LATE else values.round(2)\n"
"""of both versions the file has one size and one time, as a rebuilt wheel may"""
GOOD = ("rounding==1.0", "plain==1.0", "harmless==1.0")
BAD = ("rounding==2.0", "plain==2.0", "harmless==2.0", "added==1.0")
SANDYBRIDGE = {"JOB_PIN_NUMERICS": "0", "OPENBLAS_CORETYPE": "Sandybridge", "OMP_NUM_THREADS": "1"}


class Place:
    """A directory with a wheelhouse, and a store whose runs were trained in environments made of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wheels = directory / "wheels"
        self.data = directory / "made.csv"
        self.work = directory / "work"
        self.url = f"sqlite:///{directory / 'ledger.db'}"
        self.variables = {
            "UV_CACHE_DIR": str(directory / "cache"),
            "UV_FIND_LINKS": str(self.wheels),
            "UV_OFFLINE": "1",
            "UV_NO_INDEX": "1",
            "UV_NO_CONFIG": "1",
            "UV_LINK_MODE": "hardlink",
        }

    def fill(self) -> None:
        self.wheels.mkdir()
        for name in wheels.needed(self.directory):
            wheels.pack(self.wheels, name)
        for version, late in (("1.0", 99), ("2.0", FIRST)):
            wheels.make(self.wheels, "rounding", version, ROUNDING.format(late))
            wheels.make(self.wheels, "harmless", version, f"VERSION = {version!r}\n")
        wheels.make(self.wheels, "plain", "1.0", "")
        wheels.make(self.wheels, "plain", "2.0", "import added\n")  # GOOD's environment lacks it
        wheels.make(self.wheels, "added", "1.0", "")
        write_csv(self.data)
        (self.directory / "mine.py").write_text(MINE)
        self.execute("uv", "venv", "--python", sys.executable, "trained")
        base = [str(each) for each in self.wheels.iterdir() if not self.made(each.name)]
        self.execute("uv", "pip", "install", "--python", "trained", "--no-deps", *base)

    @staticmethod
    def made(name: str) -> bool:
        return name.startswith(("rounding", "plain", "harmless", "added"))

    def execute(self, *command: str, **variables: str) -> None:
        words = [find_uv() if word == "uv" else word for word in command]
        ours = ("JOB_", *THREADS, *KERNELS)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        done = subprocess.run(
            words,
            cwd=self.directory,
            env=inherited | self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def train(self, *packages: str, data: Path, model: str = "mine.py:Mine", **variables: str) -> None:
        self.execute(
            "uv", "pip", "uninstall", "--python", "trained", "rounding", "plain", "harmless", "added"
        )
        self.execute("uv", "pip", "install", "--python", "trained", "--no-deps", *packages)
        words = ["train", "--data", str(data), "--epochs", str(EPOCHS), "--model", model, "--no-mirror"]
        python = str(self.directory / "trained" / "bin" / "python")
        command = [python, "-P", "-m", "job", *words, "--database-url", self.url]
        self.execute(*command, PYTHONPATH=str(ROOT), **variables)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Runs 1 and 2 with other packages; 3 as 1, but changed by nothing on record; 4 and 5 with other pins."""
    made = Place(tmp_path_factory.mktemp("bisect"))
    made.fill()
    made.train(*GOOD, data=made.data)
    made.train(*BAD, data=made.data)
    made.train(*GOOD, data=made.data, SHIFT="1")
    made.train(*GOOD, data=DEFAULT_DATA, model="python")
    made.train(*GOOD, data=DEFAULT_DATA, model="python", **SANDYBRIDGE)
    return made


def bisected(
    place: Place, job: Job, good: int, bad: int, *, data: Path | None = None, work: Path | None = None
) -> subprocess.CompletedProcess[str]:
    words = ("--data", data or place.data, "--database-url", place.url, "--work", work or place.work)
    return job("bisect", good, bad, *words, timeout=300, **place.variables)


@pytest.fixture
def forgotten(place: Place) -> None:
    """No results of earlier trials."""
    (place.work / "results.json").unlink(missing_ok=True)


def table(printed: str) -> list[list[str]]:
    """The rows of the last table that was printed."""
    lines = printed.partition("change ")[2].partition("\n\n")[0].splitlines()[1:]
    return [line.split() for line in lines]


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
def test_the_package_that_rounds_otherwise_is_found_and_the_commands_show_it_again(
    place: Place, job: Job
) -> None:
    done = bisected(place, job, 1, 2)
    assert done.returncode == 0, done.stderr
    assert table(done.stdout) == [["rounding", "1.0", "2.0"]]
    assert f"mine: run 2's bits at epoch {FIRST} come from 1 of 4 changes" in done.stdout
    assert "unresolved: cannot train: the model file" in done.stderr  # plain 2.0 without what it imports
    digests = re.findall(r"this trains mine to the digest (\w{12}):\n(.+)", done.stdout)
    for digest, command in digests:
        again = subprocess.run(
            ["sh", "-c", command],
            env=os.environ | place.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert digest in again.stdout, again.stderr
    assert len({digest for digest, _ in digests}) == 2
    # All results are kept: nothing is built or trained again.
    (python,) = place.work.glob("python-*/bin/python")
    python.rename(python.with_name("away"))
    again = bisected(place, job, 1, 2)
    python.with_name("away").rename(python)
    assert again.stdout == done.stdout
    assert again.stderr.count("(known from before)") == done.stderr.count(" of about ")


@pytest.mark.slow
def test_the_lifted_pin_is_found(place: Place, job: Job) -> None:
    done = bisected(place, job, 4, 5, data=DEFAULT_DATA)
    assert done.returncode == 0, done.stderr
    assert table(done.stdout) == [["OPENBLAS_CORETYPE", "Haswell", "Sandybridge"]]
    assert "come from 1 of 4 changes" in done.stdout  # with two MKL_ variables and a number of threads


@pytest.mark.slow
def test_what_is_not_on_record_is_no_packages_fault(place: Place, job: Job) -> None:
    done = bisected(place, job, 1, 3)
    assert done.returncode == 1
    assert "no package and no setting differs" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
    done = bisected(place, job, 2, 3)
    assert done.returncode == 1
    assert "run 3's packages and settings do not bring its bits again: " in done.stderr.splitlines()[-1]
    assert done.stdout == ""


@pytest.mark.slow
def test_an_environment_that_cannot_be_built_is_named(place: Place, job: Job, tmp_path: Path) -> None:
    (place.wheels / "harmless-1.0-py3-none-any.whl").rename(tmp_path / "away")
    done = bisected(place, job, 1, 2, work=tmp_path / "work")
    (tmp_path / "away").rename(place.wheels / "harmless-1.0-py3-none-any.whl")
    assert done.returncode == 1
    assert "run 1 cannot be trained again: unresolved: cannot be built:" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
def test_an_interrupted_bisect_keeps_its_results_and_goes_on(place: Place) -> None:
    first = interrupted(place, "trial 3 of")
    assert first[-1] == "job: stopped by SIGINT; the same command goes on where it was"
    assert len(json.loads((place.work / "results.json").read_text())) == 2
    again = interrupted(place, "trial 4 of")
    assert sum(line.endswith("(known from before)") for line in again) == 2
    assert len(json.loads((place.work / "results.json").read_text())) == 3


def interrupted(place: Place, moment: str) -> list[str]:
    """What a bisect of runs 1 and 2 says until it says `moment` and is interrupted, and then."""
    words = ("bisect", 1, 2, "--data", place.data, "--database-url", place.url, "--work", place.work)
    with subprocess.Popen(
        job_command(*words), env=os.environ | place.variables, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        said: list[str] = []
        while not said or moment not in said[-1]:
            said.append(process.stderr.readline().rstrip())
            assert said[-1]
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    return [*said, *rest.splitlines()]


# -- refusals ------------------------------------------------------------------------------------


def refused(url: str, capsys: Output, good: int = 1, bad: int = 2) -> str:
    assert run(["bisect", str(good), str(bad), "--database-url", url]) == 2
    assert not Path("results").exists()
    return capsys.readouterr().err


def test_runs_that_cannot_be_bisected_are_refused(filled: Store, capsys: Output) -> None:
    url = filled.url.render_as_string()
    assert "run 3 is running; only completed runs can be bisected" in refused(url, capsys, bad=3)
    assert "differ in their specifications: seed 1, was 0" in refused(url, capsys)
    execute(filled, "UPDATE runs SET seed = 0 WHERE id = 2")
    assert "recorded only a few packages" in refused(url, capsys)
    assert "there is no run 9" in refused(url, capsys, bad=9)


def test_runs_with_the_same_bits_are_refused(migrated_url: str, capsys: Output) -> None:
    with Store(migrated_url) as store:
        for _ in range(2):
            writer = start(store, epochs=5)
            writer.append("paddle", history(5))
            writer.finish("completed")
    assert "have the same bits; there is nothing to find" in refused(migrated_url, capsys)


@pytest.fixture
def other_typer(filled: Store) -> str:
    """URL of a store whose runs 1 and 2 have other bits, the same specification, and another package."""
    for number in (1, 2):
        recorded = f'{{"python"\\: "3.11", "packages"\\: {{"typer"\\: "0.{number}"}}}}'
        execute(filled, f"UPDATE runs SET seed = 0, environment = '{recorded}' WHERE id = {number}")
    return filled.url.render_as_string()


def test_a_directory_that_cannot_be_used_is_refused(other_typer: str, capsys: Output, tmp_path: Path) -> None:
    words = ["bisect", "1", "2", "--database-url", other_typer, "--work"]
    assert run([*words, "made.csv"]) == 2
    assert capsys.readouterr().err == f"job: error: --work {tmp_path / 'made.csv'}: File exists\n"
    with FileLock(tmp_path / "lock"):
        assert run([*words, str(tmp_path)]) == 2
    error = f"job: error: another bisect works in {tmp_path}; name another --work\n"
    assert capsys.readouterr().err == error


def test_without_uv_one_line_says_how_to_get_it(
    other_typer: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    error = "job: error: bisect builds environments with uv, which is not installed: pip install uv\n"
    assert refused(other_typer, capsys) == error


# -- the search, without environments ------------------------------------------------------------


class Imagined(Trials):
    """Trials whose bits follow from the settings: a digest, or None where they are unresolved."""

    bits: Callable[[Settings], str | None]
    tried: list[Settings]

    def digest(self, settings: Settings, model: str, epochs: int) -> str:
        self.tried.append(settings)
        digest = self.bits(settings)
        if digest is None:
            raise UnresolvedError("cannot be built: no such version")
        return digest

    def home(self, python: str) -> Path:
        if python == "3.99.0":
            raise UnresolvedError("cannot be built: no interpreter")
        return self.directory

    @property
    def trained(self) -> dict[str, object]:
        return {}


def imagined(directory: Path, bits: Callable[[Settings], str | None]) -> Imagined:
    trials = Imagined(directory, "uv", run_row(), directory)
    object.__setattr__(trials, "bits", bits)
    object.__setattr__(trials, "tried", [])
    return trials


def asked(**packages: tuple[str, str]) -> Question:
    """What made the bits `good` become `bad`?"""
    changes = [Change(name.replace("_", " "), *versions) for name, versions in packages.items()]
    settings = {"python": "3.11.7"} | {change.what: change.before for change in changes}
    present = {name: value for name, value in settings.items() if value != ABSENT}
    runs = (run_row(id=1), run_row(id=2))
    return Question(*runs, "python", 7, ("good", "bad"), present, changes, [])


def test_only_bads_bits_count_and_a_pair_that_brings_them_is_found_together(tmp_path: Path) -> None:
    question = asked(
        packages_a=("1", "2"), packages_b=("1", ABSENT), packages_c=("1", "2"), pins_D=("1", "2")
    )

    def bits(settings: Settings) -> str | None:
        a, b = settings["packages a"] == "2", "packages b" not in settings
        if settings["packages c"] == "2" and not a:
            return None
        return "bad" if a and b else "other" if a or b else "good"

    told: list[str] = []
    answer = bisect(question, imagined(tmp_path, bits), told.append)
    assert [change.what for change in answer.cause] == ["packages a", "packages b"]
    assert answer.settings == {"python": "3.11.7", "packages a": "2", "packages c": "1", "pins D": "1"}
    assert answer.unresolved == sum("unresolved: cannot be built: no such version" in line for line in told)
    assert "trial 2 of about 6: python, 4 of 4 changes: a, b, c, 1 more" in told
    assert answer.trials == sum(" of about " in line for line in told)


def test_a_likely_cause_takes_one_trial(tmp_path: Path) -> None:
    question = asked(**{f"packages_{name}": ("1", "2") for name in "abcdefgh"})
    trials = imagined(tmp_path, lambda settings: "bad" if settings["packages g"] == "2" else "good")
    answer = bisect(question, trials, lambda line: None, [question.changes[6]])
    assert (answer.cause, answer.trials) == ([question.changes[6]], 3)
    answer = bisect(question, trials, lambda line: None, [question.changes[1]])
    assert answer.cause == [question.changes[6]]


def test_a_python_that_uv_lacks_is_not_varied_and_named(tmp_path: Path) -> None:
    question = asked(python=("3.99.0", "3.11.7"), packages_a=("1", "2"))
    told: list[str] = []
    trials = imagined(tmp_path, lambda settings: "bad" if settings["packages a"] == "2" else "good")
    answer = bisect(question, trials, told.append)
    own = platform.python_version()
    assert told[0].startswith(f"all trials use Python {own}: that of a run cannot be built: no interpreter")
    assert {settings["python"] for settings in trials.tried} == {own}
    assert answer.question.fixed == [Change("python", "3.99.0", "3.11.7")]
    assert [change.what for change in answer.cause] == ["packages a"]


def test_ends_that_do_not_come_again_are_not_explained(tmp_path: Path) -> None:
    question = replace(asked(packages_a=("1", "2")), fixed=[Change("cpu", "old", "new")])
    trials = imagined(tmp_path, lambda settings: "good")
    with pytest.raises(UnexplainedError, match=r"run 2's packages.* run 1's bits; .* maybe cpu new, was old"):
        bisect(question, trials, lambda line: None)
    trials = imagined(tmp_path, lambda settings: "other")
    with pytest.raises(UnexplainedError, match=r"run 1's packages .* other bits than those of both runs"):
        bisect(question, trials, lambda line: None)


def test_without_a_change_nothing_is_trained(tmp_path: Path) -> None:
    trials = imagined(tmp_path, lambda settings: "good")
    with pytest.raises(
        UnexplainedError, match=r"^python: no package and no setting differs; so .*, maybe cpu new"
    ):
        bisect(replace(asked(), fixed=[Change("cpu", "old", "new")]), trials, lambda line: None)
    assert trials.tried == []


def test_a_run_that_recorded_a_few_packages_has_the_others_of_the_other_run(filled: Store) -> None:
    old = '{"python"\\: "3.11", "packages"\\: {"numpy"\\: "2.0"}}'
    new = '{"python"\\: "3.11", "packages"\\: {"numpy"\\: "2.1", "typer"\\: "0.2"}, "cpu"\\: "a"}'
    for number, recorded in ((1, old), (2, new)):
        execute(filled, f"UPDATE runs SET seed = 0, environment = '{recorded}' WHERE id = {number}")
    first, _ = questions(filled, filled.run(1), filled.run(2))
    assert first.settings == {"python": "3.11", "packages numpy": "2.0", "packages typer": "0.2"}
    assert first.changes == [Change("packages numpy", "2.0", "2.1")]
    assert first.fixed == [Change("cpu", ABSENT, "a")]


def test_a_model_has_the_settings_that_it_was_resumed_with_at_its_own_epoch(filled: Store) -> None:
    was = {"python": "3.11", "packages": {"numpy": "2.0", "typer": "0.2"}}
    changed = {"packages": {"numpy": "2.1"}}
    resume = {"epoch": 9, "epochs": {"paddle": 9, "python": 0}, "changed": changed}
    for number, recorded in ((1, was), (2, was | {"resumes": [resume]})):
        value = json.dumps(recorded).replace(":", r"\:")
        execute(filled, f"UPDATE runs SET seed = 0, environment = '{value}' WHERE id = {number}")
    found = questions(filled, filled.run(1), filled.run(2))
    assert {each.model: each.changes for each in found} == {
        "paddle": [],
        "python": [Change("packages numpy", "2.0", "2.1")],
    }
