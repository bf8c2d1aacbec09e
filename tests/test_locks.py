"""The lock files agree: one version of each package, with hashes, in all of them."""

from __future__ import annotations

import re
import tomllib

import pytest

from benchmarks.peers.table import NAMES
from tests.conftest import ROOT

PEERS = ROOT / "benchmarks" / "peers"


def locked(name: str) -> dict[str, tuple[str, ...]]:
    """The requirements in a lock file, `name==version` without its marker, each with its hashes."""
    entries = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    return {
        entry.split(" ")[0]: tuple(word for word in entry.split() if word.startswith("--hash="))
        for entry in entries
        if entry.strip()
    }


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-build.lock", "requirements-dashboard.lock"]
)
def test_a_lock_has_hashes_and_agrees_with_the_developers(name: str) -> None:
    everything = locked("requirements-dev.lock")
    chosen = locked(name)
    assert chosen
    assert all(chosen.values())
    assert {requirement: everything.get(requirement) for requirement in chosen} == chosen


@pytest.mark.parametrize("name", sorted(NAMES.keys() - {"csv"}))
def test_each_tracker_of_the_benchmarks_has_a_lock_with_hashes_and_no_address(name: str) -> None:
    chosen = locked(f"benchmarks/peers/{name}.lock")
    assert all(chosen.values())
    wanted = {re.split("[>=]", line)[0] for line in (PEERS / f"{name}.in").read_text().lower().split()}
    assert wanted <= {requirement.split("==")[0].lower() for requirement in chosen}
    assert "://" not in (PEERS / f"{name}.lock").read_text()
    assert f" {name}" in (ROOT / "Makefile").read_text().partition("PEERS  :=")[2].splitlines()[0]


def test_the_dashboard_has_no_paddle_and_only_what_the_project_depends_on() -> None:
    names = {requirement.split("==")[0] for requirement in locked("requirements-dashboard.lock")}
    assert {"visualdl", "sqlalchemy"} < names
    assert not {name for name in names if "paddle" in name}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split("[>=]", dependency)[0] for dependency in project["project"]["dependencies"]}
    assert set(project["dependency-groups"]["dashboard"]) <= wanted
