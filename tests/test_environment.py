"""The environment that a run records is the real one, as found in another way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

import job.environment
from db.lease import with_resume
from job.environment import environment, environment_at, environment_changes, flat, main_packages
from job.pins import pins
from tests.conftest import ROOT


def test_versions_cpu_and_threads_are_those_of_this_process() -> None:
    import numpy as np
    import sqlalchemy

    found = environment()
    assert found["python"] == sys.version.split()[0]
    assert found["packages"]["numpy"] == np.__version__
    assert found["packages"]["sqlalchemy"] == sqlalchemy.__version__
    for name in ("epoch-ledger", "paddlepaddle", "alembic", "psycopg", "visualdl"):
        assert found["packages"][name] == version(name)
    assert os.uname().release in found["platform"]
    models = {line.split(":", 1)[1].strip() for line in cpuinfo() if line.startswith("model name")}
    assert found["cpu"] in (models or {os.uname().machine})
    assert found["blas"] == [
        {"library": "openblas", "version": found["blas"][0]["version"], "kernel": "Haswell"}
    ]
    assert found["threads"]["libscipy_openblas"] == 1


def cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


def test_threads_are_those_in_force_not_those_asked_for(tmp_path: Path) -> None:
    program = "import json, numpy; from job.environment import environment; print(json.dumps(environment()))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    wanted = min(2, len(os.sched_getaffinity(0)))
    assert found["threads"]["libscipy_openblas"] == wanted
    assert found["pins"]["OPENBLAS_NUM_THREADS"] == "2"


def test_every_installed_distribution_is_on_record_once_under_its_normalised_name(tmp_path: Path) -> None:
    site = Path(sysconfig.get_path("purelib"))
    names = {re.sub(r"[-_.]+", "-", each.name.split("-")[0]).lower() for each in site.glob("*.dist-info")}
    assert set(environment()["packages"]) >= names > {"sqlalchemy", "typer", "epoch-ledger"}
    for directory, version_of in (("first", "2.0"), ("second", "1.0")):
        about = tmp_path / directory / f"Some.odd_name-{version_of}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Name: Some.odd_name\nVersion: {version_of}\n")
    (tmp_path / "first" / "broken-1.0.dist-info").mkdir()
    program = "import setuptools; from job.environment import packages; print(dict(packages()))"
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path / 'first'}:{tmp_path / 'second'}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "'some-odd-name': '2.0'" in found
    assert "broken" not in found
    assert eval(found).keys() - {"some-odd-name"} == environment()["packages"].keys()


def test_a_run_that_recorded_a_few_packages_differs_only_in_those() -> None:
    few = {"packages": {"numpy": "2.0", "torch": "2.1"}}
    every = {"packages": {"numpy": "2.1", "typer": "0.20", "new": "3"}}
    assert environment_changes(few, every) == [("packages numpy", "2.0", "2.1")]
    assert environment_changes(every, few) == [("packages numpy", "2.1", "2.0")]


def test_a_table_shows_the_main_packages_and_how_many_more_there_are() -> None:
    recorded = {"a": "1", "numpy": "2.0", "torch": "2.1", "z": "1"}
    assert main_packages(recorded) == "numpy 2.0, torch 2.1, 2 more"
    assert main_packages({"numpy": "2.0"}) == "numpy 2.0"


def test_the_environment_of_a_models_epoch_is_that_of_the_resume_before_it() -> None:
    first = {"cpu": "a", "packages": {"numpy": "1", "old": "1", "same": "1"}, "pins": {"A": None}}
    second = first | {"cpu": "b"}
    third = first | {"packages": {"numpy": "2", "new": "1", "same": "1"}, "pins": {"A": "1"}}
    recorded = with_resume(with_resume(first, second, {"a": 10, "b": 4}), third, {"a": 10, "b": 20})
    assert recorded["resumes"][1]["changed"]["packages"] == {"numpy": "2", "old": None, "new": "1"}
    assert [environment_at(recorded, epoch, "a") for epoch in (9, 10)] == [first, third]
    of_b = [first, second, second, third]
    assert [environment_at(recorded, epoch, "b") for epoch in (3, 4, 19, 25)] == of_b
    assert with_resume(first, second, {})["resumes"][0]["epoch"] == 0, "no model had an epoch yet"
    for resume in recorded["resumes"]:
        del resume["epochs"]  # as earlier versions had it: the epoch of the model that was furthest ahead
    assert [environment_at(recorded, epoch, "b") for epoch in (9, 10, 19, 20)] == of_b


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, in place of the project's own."""
    directory = tmp_path / "checkout"
    directory.mkdir()
    (directory / "model.py").write_text("learning = 1\n")
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first"),
    ):
        subprocess.run(["git", *words], cwd=directory, check=True)
    monkeypatch.setattr(job.environment, "SOURCE", directory)
    return directory


def test_a_backup_in_the_checkout_is_no_change_of_the_source(checkout: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()
    (checkout / "backup.db").write_bytes(b"SQLite format 3")
    assert environment()["git"] == {"commit": head, "dirty": False}


@pytest.mark.parametrize("change", ["changed", "staged", "removed"])
def test_a_change_of_the_source_is_on_record(checkout: Path, change: str) -> None:
    if change == "removed":
        (checkout / "model.py").unlink()
    else:
        (checkout / "model.py").write_text("learning = 2\n")
    if change == "staged":
        subprocess.run(["git", "add", "."], cwd=checkout, check=True)
    assert environment()["git"]["dirty"] is True


def test_an_image_knows_its_commit_and_other_places_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job.environment, "SOURCE", tmp_path)
    assert environment()["git"] is None
    (tmp_path / ".git").mkdir()  # broken
    assert environment()["git"] is None
    monkeypatch.setenv("JOB_GIT_COMMIT", "abc")
    assert environment()["git"] == {"commit": "abc", "dirty": False}


def test_changes_are_named_by_their_place_and_both_values() -> None:
    before = {
        "cpu": "a",
        "packages": {"numpy": "2.0", "old": "1"},
        "blas": [{"library": "openblas", "kernel": "Haswell"}],
        "git": None,
        "same": [1, 2],
    }
    now = {
        "cpu": "a",
        "packages": {"numpy": "2.1", "new": "3"},
        "blas": [{"library": "openblas", "kernel": "Zen"}],
        "git": {"commit": "abc", "dirty": False},
        "same": [1, 3],
    }
    changes = environment_changes(before, now)
    assert changes[0] == ("blas openblas kernel", "Haswell", "Zen")
    assert [str(change) for change in changes] == [
        "blas openblas kernel Zen, was Haswell",
        "git commit abc, was absent",
        "git dirty False, was absent",
        "packages new 3, was absent",
        "packages numpy 2.1, was 2.0",
        "packages old absent, was 1",
        "same 2 3, was 2",
    ]
    assert environment_changes(before, before) == []


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "kernels"),
    [
        ("x86_64", "flags\t: fpu avx avx2 fma", True),
        ("AMD64", "flags\t: fpu avx avx2 fma", True),
        ("x86_64", "flags\t: fpu avx", False),
        ("x86_64", None, True),
        ("aarch64", "Features\t: asimd avx2", False),
    ],
)
def test_the_kernels_are_pinned_where_the_cpu_has_avx2(
    monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None, kernels: bool
) -> None:
    def read_text(path: Path, *_: object) -> str:
        assert str(path) == "/proc/cpuinfo"
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", read_text)
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    wanted = {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "COMPATIBLE"} if kernels else {}
    assert pins() == threads | wanted
    monkeypatch.setenv("JOB_PIN_NUMERICS", "0")
    assert pins() == {}


def test_every_setting_has_a_path_of_its_own() -> None:
    settings = {"blas": [{"library": "a", "v": 1}, {"library": "a", "v": 2}, {"v": 3}], "git": None}
    assert flat(settings) == {"blas a v": "1", "blas a 2 v": "2", "blas 3 v": "3"}
