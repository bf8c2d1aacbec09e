"""A run's environment: versions, machine, numerics, and the source's git commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_info

from db.sources import ModelSource
from job.pins import KERNELS, THREADS

SOURCE = Path(__file__).resolve().parent.parent
PACKAGES = ("epoch-ledger", "numpy", "paddlepaddle", "sqlalchemy", "alembic", "psycopg", "visualdl")
FRAMEWORKS = ("torch", "jax", "jaxlib", "tensorflow", "keras", "scipy", "scikit-learn", "numba")
"""what own models may use, if it is installed"""
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
        "packages": {name: version for name in PACKAGES + FRAMEWORKS if (version := _version(name))},
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


class Change(NamedTuple):
    """A setting, package or the like that two runs do not have in common."""

    what: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} {self.now}, was {self.before}"


def environment_changes(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """The differences between two runs' environments, with the changes at resumes."""
    one, other = _flat(before), _flat(now)
    return [
        Change(name, one.get(name, "absent"), other.get(name, "absent"))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested settings as one level, {path: text}; the parts of a path are separated by spaces.

    A list item is named by its `library`, or else by its position, from 1.
    """
    if isinstance(value, dict):
        items = [(key, item) for key, item in value.items() if key != "library"]
    elif isinstance(value, list):
        items = [(_label(item, i), item) for i, item in enumerate(value)]
    else:
        return {} if value is None else {name: str(value)}
    flat: dict[str, str] = {}
    for key, item in items:
        flat |= _flat(item, f"{name} {key}".strip())
    return flat


def _label(item: Any, i: int) -> str:
    return str(item["library"]) if isinstance(item, dict) and "library" in item else str(i + 1)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
