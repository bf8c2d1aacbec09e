"""What a run was trained in: versions, machine, numerics, and the source's git commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from job.pins import KERNELS, THREADS

SOURCE = Path(__file__).resolve().parent.parent
PACKAGES = ("epoch-ledger", "numpy", "paddlepaddle", "sqlalchemy", "alembic", "psycopg", "visualdl")


def environment() -> dict[str, Any]:
    """The environment in force, as JSON can hold it. Call after NumPy and Paddle have loaded.

    `blas` tells what runs, by asking the loaded libraries; `pins` what was asked for.
    """
    from threadpoolctl import threadpool_info

    libraries = threadpool_info()
    blas = [library for library in libraries if library["user_api"] == "blas"]
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
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
    }


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
    """The commit of the source and whether it was changed since; None outside a checkout.

    An image has no checkout: its build writes the commit into JOB_GIT_COMMIT.
    """
    baked = os.environ.get("JOB_GIT_COMMIT")
    if baked:
        return {"commit": baked, "dirty": False}
    if not (SOURCE / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603
                ["git", "-C", str(SOURCE), *arguments],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}
