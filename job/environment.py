"""A run's environment: versions, machine, numerics, and the source's git commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_info

from db.model_source import ModelSource
from job.pins import KERNELS, THREADS

SOURCE = Path(__file__).resolve().parent.parent
PACKAGES = ("epoch-ledger", "numpy", "paddlepaddle", "sqlalchemy", "alembic", "psycopg", "visualdl")
FRAMEWORKS = ("torch", "jax", "jaxlib", "tensorflow", "keras", "scipy", "scikit-learn", "numba")
"""what own models may use; these and PACKAGES are shown where all would be too many"""
ABSENT = "absent"
"""the value of a setting or package that a run does not have"""
TRAINING: dict[str, str] = {}
"""how a model trains in this process, if it can do so in two ways; models set it when they are made"""


def environment(models: Sequence[ModelSource] = ()) -> dict[str, Any]:
    """The current environment as JSON values. Call after the models have been made.

    `blas` is what the loaded libraries report, `pins` what the environment variables request.
    """
    own = {model.name: model.source_sha256 for model in models if model.source_sha256}
    libraries = threadpool_info()
    blas = [library for library in libraries if library["user_api"] == "blas"]
    return {
        "python": platform.python_version(),
        "packages": dict(packages()),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "blas": [
            {
                "library": library["internal_api"],
                "version": library["version"],
                "kernel": library.get("architecture"),
            }
            for library in blas
        ],
        "threads": {library["prefix"]: library["num_threads"] for library in libraries},
        "pins": {name: os.environ.get(name) for name in (*THREADS, *KERNELS)},
        "git": _git(),
    } | {name: value for name, value in (("models", own), ("training", TRAINING.copy())) if value}


@cache
def packages() -> Mapping[str, str]:
    """The version of each installed distribution, by its normalised name (PEP 503), sorted.

    Of two with one name, that of the one which is imported. Reading 150 takes 0.1 s, so this is done once.
    """
    found: dict[str, str] = {}
    # Once imported, setuptools has a directory with its own copies of packages on the path.
    path = [entry for entry in sys.path if Path(entry).name != "_vendor"]
    for each in importlib.metadata.distributions(path=path):
        about = each.metadata  # each access reads the file
        if "Name" in about and "Version" in about:  # not after an installation that was broken off
            found.setdefault(re.sub(r"[-_.]+", "-", about["Name"]).lower(), about["Version"])
    return dict(sorted(found.items()))


def main_packages(recorded: Mapping[str, str]) -> str:
    """The packages that a table shows of those recorded, and how many more there are."""
    chosen = [f"{name} {recorded[name]}" for name in PACKAGES + FRAMEWORKS if name in recorded]
    more = len(recorded) - len(chosen)
    return ", ".join(chosen + [f"{more} more"] * (more > 0))


class Change(NamedTuple):
    """A setting, package or the like that two runs do not have in common."""

    what: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} {self.now}, was {self.before}"


def environment_changes(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """The differences between two runs' environments, with the changes at resumes.

    Where only one has all packages on record, packages that the other does not have say nothing.
    """
    one, other = flat(before), flat(now)
    partly = complete(before) != complete(now)
    return [
        Change(name, one.get(name, ABSENT), other.get(name, ABSENT))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
        and not (partly and name.startswith("packages ") and not (name in one and name in other))
    ]


def complete(recorded: dict[str, Any]) -> bool:
    """Whether an environment has every package; earlier versions of the job recorded a few."""
    return "typer" in recorded.get("packages", {})


def environment_at(recorded: dict[str, Any], epoch: int, model: str) -> dict[str, Any]:
    """The environment in which a model's epoch was trained: the first, with the changes of the last resume.

    Earlier versions recorded only the epoch of the model that was furthest ahead.
    """
    found = {name: value for name, value in recorded.items() if name != "resumes"}
    changes = [
        each["changed"]
        for each in recorded.get("resumes", [])
        if each.get("epochs", {}).get(model, each["epoch"]) <= epoch
    ]
    return with_changes(found, changes[-1]) if changes else found  # each has all changes since the start


def with_changes(before: Any, changes: Any) -> Any:
    """A JSON value with the changes that a resume recorded; None stands for what is gone."""
    if not (isinstance(before, dict) and isinstance(changes, dict)):
        return changes
    found = before | {name: with_changes(before.get(name), value) for name, value in changes.items()}
    return {name: value for name, value in found.items() if value is not None or name not in changes}


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested settings as one level, {path: text}; the parts of a path are separated by spaces.

    A list item is named by its `library`, with its position if this name is taken, or else by its position,
    from 1.
    """
    if isinstance(value, dict):
        items = [(key, item) for key, item in value.items() if key != "library"]
    elif isinstance(value, list):
        labels = [_label(item, i) for i, item in enumerate(value)]
        # NumPy and SciPy may each load a library of one name.
        seen = [label in labels[:i] for i, label in enumerate(labels)]
        items = [(f"{label} {i + 1}" if seen[i] else label, value[i]) for i, label in enumerate(labels)]
    else:
        return {} if value is None else {name: str(value)}
    found: dict[str, str] = {}
    for key, item in items:
        found |= flat(item, f"{name} {key}".strip())
    return found


def _label(item: Any, i: int) -> str:
    return str(item["library"]) if isinstance(item, dict) and "library" in item else str(i + 1)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _git() -> dict[str, Any] | None:
    """The commit of the source and whether tracked files have changed since; None outside a checkout.

    A container image has no checkout: its build sets JOB_GIT_COMMIT.
    """
    baked = os.environ.get("JOB_GIT_COMMIT")
    if baked:
        return {"commit": baked, "dirty": False}
    if not (SOURCE / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603
                # The user who trains may not own the checkout, as in a system service.
                ["git", "-c", f"safe.directory={SOURCE}", "-C", str(SOURCE), *arguments],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}
