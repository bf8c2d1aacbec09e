"""VisualDL, which keeps settings at home, leaves the user's home alone, and needs none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.process
@pytest.mark.parametrize("home", [None, "", "/nonexistent", "/dev/null", "home"])
def test_the_home_stays_as_it_is(tmp_path: Path, home: str | None) -> None:
    (tmp_path / "home").mkdir()
    code = "import os, job.mirror.records; print(os.environ.get('HOME'))"
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    if home is not None:
        environment["HOME"] = home if home != "home" else str(tmp_path / "home")
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    found = subprocess.check_output(command, env=environment, cwd=tmp_path, text=True)
    assert found == f"{environment.get('HOME')}\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["home"]
