"""Wheels for tests that build environments without a network: of the installed packages, and made-up ones."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

TRAIN = "from job.cli import run; run(['train', '--model', 'python', '--epochs', '1', '--no-mirror'])"
LOADED = f"import sys; from job.pins import pin; pin(); {TRAIN}; print(*sys.modules, file=sys.stderr)"


def needed(directory: Path) -> set[str]:
    """The installed distributions that a training of the NumPy model imports."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED], cwd=directory, capture_output=True, text=True, check=True
    )
    modules = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    owners = packages_distributions()
    return {owner for module in modules for owner in owners.get(module, [])}


def pack(directory: Path, name: str) -> None:
    """Write the wheel of an installed distribution, not compressed."""
    found = distribution(name)
    tags = [line.split()[1] for line in str(found.read_text("WHEEL")).splitlines() if line.startswith("Tag:")]
    wheel = directory / f"{found.name.replace('-', '_')}-{found.version}-{tags[-1]}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in found.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(str(file.locate()), str(file))


def make(directory: Path, name: str, version: str, code: str) -> None:
    """Write the wheel of a package with one module, with the same times in every version."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
