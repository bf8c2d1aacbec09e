"""Where VisualDL keeps its settings if the user has no home."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from job.mirror.records import ensure_home


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory used in place of a missing home."""
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"epoch-ledger-{os.getuid()}"


def test_a_home_that_can_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    ensure_home()
    assert os.environ["HOME"] == str(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", ["/nonexistent", "", "/dev/null"])
def test_without_one_it_is_a_directory_that_nobody_else_can_open(
    home: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        monkeypatch.setenv("HOME", home)
        ensure_home()
        assert os.environ["HOME"] == str(own)
        assert stat.S_IMODE(own.stat().st_mode) == 0o700


def open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def link(path: Path) -> None:
    path.symlink_to(path.parent)


@pytest.mark.parametrize("prepared", [open_to_all, link, Path.touch])
def test_what_others_may_have_prepared_is_not_used(prepared: Callable[[Path], None], own: Path) -> None:
    prepared(own)
    ensure_home()
    home = Path(os.environ["HOME"])
    assert home != own
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
