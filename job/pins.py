"""Pins the numerical settings that a history's bits depend on, before NumPy and Paddle load.

Measured: NumPy's history depends on OpenBLAS's kernel, which OpenBLAS chooses by the CPU; the Haswell kernel
runs on every x86-64 CPU with AVX2. Paddle's depends on MKL's mode. The thread count has changed no bits so
far; it is pinned as a precaution (docs/reproducibility.md).
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

PIN_VARIABLE = "JOB_PIN_NUMERICS"
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KERNELS = {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "COMPATIBLE"}
OFF = ("0", "no", "off", "false")


def wanted() -> bool:
    """Whether to set the pins: yes, unless JOB_PIN_NUMERICS turns them off."""
    return os.environ.get(PIN_VARIABLE, "1").strip().lower() not in OFF


def pins() -> dict[str, str]:
    """The variables to set; none if JOB_PIN_NUMERICS turns them off."""
    if not wanted():
        return {}
    return THREADS | KERNELS if _has_avx2() else THREADS


def pin() -> None:
    """Set the pins in this process's environment, over inherited values. Call before NumPy loads."""
    os.environ.update(pins())


def _has_avx2() -> bool:
    """Whether this CPU can run the pinned kernels; on another, OpenBLAS would crash."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "avx2" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux: no other supported system runs on an x86-64 CPU without AVX2
        return True
