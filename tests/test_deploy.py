"""The files for other schedulers parse, and what they start is valid on the command line."""

from __future__ import annotations

import configparser
import fcntl
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from db import scheduled_runs
from db.store import Store
from job.cli import app
from job.schedule.cron import Schedule
from tests.conftest import ROOT, job_command

DEPLOY = ROOT / "deploy"


def accepted(words: list[str]) -> None:
    """Fails if the command line does not accept these words."""
    command = get_command(app)
    with command.make_context("job", list(words)) as context:
        name, found, rest = command.resolve_command(context, words)  # type: ignore[attr-defined]
        with found.make_context(name, rest, parent=context) as inner:
            assert inner.params["once"] is True


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string((DEPLOY / "systemd" / name).read_text())
    return parsed


def crontab_line() -> tuple[str, str]:
    """The time and the command of the crontab's only line."""
    (line,) = (
        line for line in (DEPLOY / "crontab").read_text().splitlines() if line and not line.startswith("#")
    )
    return " ".join(line.split()[:5]), line.split(maxsplit=5)[5]


def test_the_systemd_units_start_one_night_and_overlap_is_ruled_out() -> None:
    service, timer = unit("epoch-ledger-nightly.service"), unit("epoch-ledger-nightly.timer")
    assert timer["Timer"]["Unit"] == "epoch-ledger-nightly.service"
    assert timer["Timer"]["Persistent"] == "true"
    assert service["Service"]["Type"] == "oneshot"
    words = shlex.split(service["Service"]["ExecStart"])
    assert words[0].endswith("/job")
    accepted(words[1:])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in (DEPLOY / "systemd").iterdir():
        (tmp_path / path.name).write_text(
            path.read_text().replace("/opt/epoch-ledger/.venv/bin/job", "/bin/true")
        )
    found = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_the_cronjob_starts_one_night_and_overlap_is_ruled_out() -> None:
    manifest = yaml.safe_load((DEPLOY / "kubernetes" / "nightly-cronjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    spec = manifest["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    Schedule(spec["schedule"], spec["timeZone"])
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    accepted(container["args"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_crontab_runs_one_night_and_none_while_one_is_at_work(tmp_path: Path) -> None:
    when, what = crontab_line()
    Schedule(when, "UTC")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python, *rest = job_command()
    starter = tmp_path / ".venv/bin/job"
    starter.write_text(f'#!/bin/sh\nexec {python} {" ".join(map(str, rest))} "$@"\n')
    starter.chmod(0o755)
    (tmp_path / ".env").write_text("JOB_EPOCHS=30\n")
    line = what.replace("/opt/epoch-ledger", str(tmp_path))

    def start() -> int:
        return subprocess.run(["sh", "-c", line], check=False, cwd="/").returncode

    assert start() == 0
    with (tmp_path / "results/nightly.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert start() == 0
    with Store(f"sqlite:///{tmp_path / 'results/ledger.db'}") as store:
        assert [scheduled_run.outcome for scheduled_run in scheduled_runs.newest(store)] == ["completed"]
    assert '"event": "verdict"' in (tmp_path / "results/nightly.log").read_text()
