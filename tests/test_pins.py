"""The same seed gives the same bits, whatever threads and kernels the machine is set to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from db.store import Store
from job.models.reference import BUILT_IN
from job.pins import KERNELS, THREADS, pins, wanted
from tests.conftest import Job

INHERITED = [
    {},
    {"OMP_NUM_THREADS": "4", "OPENBLAS_CORETYPE": "Sandybridge", "MKL_CBWR": "AVX2"},
    {"OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_NUM_THREADS": "2"},
]


@pytest.mark.slow
def test_inherited_threads_and_kernels_change_no_bit(job: Job, sqlite_url: str) -> None:
    for inherited in INHERITED:
        done = job("train", "--epochs", 2000, "--database-url", sqlite_url, **inherited)
        assert done.returncode == 0, done.stderr
    with Store(sqlite_url) as store:
        runs = store.runs()
        assert len(runs) == len(INHERITED)
        for model in BUILT_IN:
            first, *others = (store.history(run.id, model) for run in runs)
            assert len(first) == 2000
            assert all(first.same_bits(other) for other in others)
        for run in runs:
            assert run.environment["pins"] == THREADS | KERNELS
            assert run.environment["blas"][0]["kernel"] == "Haswell"


NUMPY_HISTORY = """
import json
from job.pins import pin
pin()
from job.data.dataset import load
from job.environment import environment
from job.models.python import PythonModel
history = PythonModel(load(), 0.01, 0, PythonModel.initial(load(), 0)).advance(50)
print(json.dumps([environment()["blas"][0]["kernel"], history.parameters[-1].tobytes().hex()]))
"""


def in_a_new_process(**environment: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", NUMPY_HISTORY],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parent.parent), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kernel, bits = json.loads(done.stdout)
    return kernel, bits


@pytest.mark.slow
def test_a_lifted_pin_lets_another_kernel_through_and_the_record_says_so() -> None:
    kernel, bits = in_a_new_process(JOB_PIN_NUMERICS="0", OPENBLAS_CORETYPE="Sandybridge")
    pinned_kernel, pinned_bits = in_a_new_process(OPENBLAS_CORETYPE="Sandybridge")
    assert (kernel, pinned_kernel) == ("Sandybridge", "Haswell")
    assert bits != pinned_bits, "the pin would not be needed"


@pytest.mark.slow
def test_numpys_own_vector_units_change_no_bit() -> None:
    _, bits = in_a_new_process()
    for features in ("AVX512F", "AVX2 FMA3"):
        assert in_a_new_process(NPY_DISABLE_CPU_FEATURES=features)[1] == bits


@pytest.mark.parametrize("setting", ["0", "no", "OFF", " false "])
def test_the_setting_lifts_the_pins(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted()
    monkeypatch.setenv("JOB_PIN_NUMERICS", setting)
    assert not wanted()


@pytest.mark.parametrize(
    ("machine", "flags", "pinned"),
    [
        ("x86_64", "fma avx2", True),
        ("AMD64", None, True),
        ("x86_64", "avx", False),
        ("aarch64", "avx2", False),
    ],
)
def test_kernels_are_pinned_only_on_cpus_that_run_them(
    machine: str, flags: str | None, pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cpuinfo(path: Path) -> str:
        if flags is None:
            raise OSError("not Linux")
        return f"flags : {flags}"

    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", cpuinfo)
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    kernels = {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "COMPATIBLE"}
    assert pins() == threads | (kernels if pinned else {})
