"""The workflow for GitHub Actions: its shell trains a night each time, in the store of the last."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from db import scheduled_runs
from db.store import Store
from job.schedule.cron import Schedule
from tests.conftest import ROOT, job_command

pytestmark = pytest.mark.process

WORKFLOW = yaml.safe_load((ROOT / "deploy/github/nightly.yml").read_text())
JOB = WORKFLOW["jobs"]["night"]
STEPS = {step.get("name", step.get("uses")): step for step in JOB["steps"]}
GH = """#!/bin/bash
case "$1 $2" in
  "api repos/owner/name/actions/artifacts?name=ledger") [ -e "$ARTIFACT" ] && echo 7 || true ;;
  "run download") [ "$*" = "run download 7 --name ledger --dir results" ] && cp -r "$ARTIFACT" results ;;
  *) echo "gh $*" >&2; exit 1 ;;
esac
"""


def test_it_is_a_workflow_that_runs_one_night_at_a_time() -> None:
    (schedule,) = WORKFLOW[True]["schedule"]  # YAML 1.1 reads `on` as true
    Schedule(schedule["cron"], "UTC")
    assert WORKFLOW["concurrency"] == "nightly"
    upload = JOB["steps"][-1]
    assert upload["if"] == "always()"
    assert (upload["with"]["name"], upload["with"]["path"]) == ("ledger", "results/")


@pytest.mark.slow
def test_the_next_night_goes_on_with_the_last_ones_store_and_fails_if_its_run_does(tmp_path: Path) -> None:
    programs, artifact = tmp_path / "bin", tmp_path / "artifact"
    programs.mkdir()
    python, *rest = map(str, job_command())
    for name, text in {"gh": GH, "job": f'#!/bin/sh\nexec {python} {" ".join(rest)} "$@"\n'}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOB_")}
    environment |= JOB["env"] | {"JOB_EPOCHS": "30", "GITHUB_REPOSITORY": "owner/name"}
    environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "ARTIFACT": str(artifact)}
    for number in (1, 2, 3):
        checkout = tmp_path / f"checkout{number}"
        checkout.mkdir()
        own = environment | {"GITHUB_STEP_SUMMARY": str(checkout / "summary.md")}
        if number == 3:
            own |= {"JOB_LEARNING_RATE": "1e30"}  # this run diverges
        for step in ("Store", "Night"):
            command = ["bash", "-e", "-c", STEPS[step]["run"]]
            done = subprocess.run(
                command, cwd=checkout, env=own, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == int(number == 3 and step == "Night"), done.stderr
        assert f"{min(number, 2)} of {number} passed" in (checkout / "summary.md").read_text()
        assert (checkout / "results/nights.xml").read_text().count("<testsuite ") == number
        assert (checkout / "results/nights.html").exists()
        shutil.rmtree(artifact, ignore_errors=True)
        shutil.copytree(checkout / "results", artifact)
    with Store(f"sqlite:///{artifact}/ledger.db") as store:
        drift = [night.drift and night.drift.passed for night in scheduled_runs.newest(store)]
    assert drift == [None, True, None]
