"""Pins what the bits of a training depend on besides data and seed, before NumPy and Paddle load.

Measured: NumPy's history differs with OpenBLAS's kernel, which OpenBLAS chooses by the CPU; Haswell's
runs on every x86-64 CPU with AVX2. The thread count and MKL's mode changed nothing so far; they are
pinned so that they cannot begin to.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

SETTING = "JOB_PIN_NUMERICS"
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KERNELS = {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "COMPATIBLE"}
OFF = ("0", "no", "off", "false")


def wanted() -> bool:
    """Whether the pins are to be set: yes, unless the setting lifts them."""
    return os.environ.get(SETTING, "1").strip().lower() not in OFF


def pins() -> dict[str, str]:
    """The variables that are to be set, none where the setting lifts them."""
    if not wanted():
        return {}
    return THREADS | KERNELS if _has_avx2() else THREADS


def pin() -> None:
    """Set the pins in this process's environment, over what it inherited. Call before NumPy loads."""
    os.environ.update(pins())


def _has_avx2() -> bool:
    """Whether this CPU runs the pinned kernels; forced on another, OpenBLAS would crash."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "avx2" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux: x86-64 machines without AVX2 are older than any other system we run on
        return True
