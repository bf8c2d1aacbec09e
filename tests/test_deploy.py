"""The files for other schedulers parse, and what they start is valid on the command line."""

from __future__ import annotations

import configparser
import fcntl
import shlex
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from db import scheduled_runs
from db.store import Store
from job.cli import app
from job.schedule.cron import Schedule
from job.schedule.scheduler import GRACE
from tests.conftest import ROOT, job_command

DEPLOY = ROOT / "deploy"


NIGHT = {"once": True}
CHECK = {"check": True, "within": timedelta(hours=26)}


def accepted(words: list[str], expected: dict[str, object]) -> None:
    """Fails if the command line does not accept these words, or not with these values."""
    command = get_command(app)
    with command.make_context("job", list(words)) as context:
        name, found, rest = command.resolve_command(context, words)  # type: ignore[attr-defined]
        with found.make_context(name, rest, parent=context) as inner:
            assert inner.params | expected == inner.params


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string((DEPLOY / "systemd" / name).read_text())
    return parsed


def crontab_lines() -> list[tuple[str, str]]:
    """The time and the command of each of the crontab's lines: the night and the check."""
    lines = (DEPLOY / "crontab").read_text().splitlines()
    return [
        (" ".join(line.split()[:5]), line.split(maxsplit=5)[5])
        for line in lines
        if line and not line.startswith("#")
    ]


def cronjob(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The spec and the only container of a CronJob, both valid as far as that is known here."""
    manifest = yaml.safe_load((DEPLOY / "kubernetes" / name).read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    spec = manifest["spec"]
    Schedule(spec["schedule"], spec["timeZone"])
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    return spec, container


@pytest.mark.parametrize(("name", "expected"), [("nightly", NIGHT), ("check", CHECK)])
def test_the_systemd_units_start_one_night_or_one_check(name: str, expected: dict[str, object]) -> None:
    service, timer = unit(f"epoch-ledger-{name}.service"), unit(f"epoch-ledger-{name}.timer")
    assert timer["Timer"]["Unit"] == f"epoch-ledger-{name}.service"
    assert timer["Timer"]["Persistent"] == "true"
    assert service["Service"]["Type"] == "oneshot"  # an active unit is not started again
    words = shlex.split(service["Service"]["ExecStart"])
    assert words[0].endswith("/job")
    accepted(words[1:], expected)


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


@pytest.mark.parametrize(("name", "expected"), [("nightly", NIGHT), ("check", CHECK)])
def test_the_cronjobs_start_one_night_or_one_check(name: str, expected: dict[str, object]) -> None:
    spec, container = cronjob(f"{name}-cronjob.yaml")
    assert spec["concurrencyPolicy"] == "Forbid"
    accepted(container["args"], expected)


def test_the_crontab_runs_one_night_and_none_while_one_is_at_work_and_checks_them(tmp_path: Path) -> None:
    for when, _ in crontab_lines():
        Schedule(when, "UTC")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python, *rest = job_command()
    starter = tmp_path / ".venv/bin/job"
    starter.write_text(f'#!/bin/sh\nexec {python} {" ".join(map(str, rest))} "$@"\n')
    starter.chmod(0o755)
    (tmp_path / ".env").write_text("JOB_EPOCHS=30\n")
    night, check = (what.replace("/opt/epoch-ledger", str(tmp_path)) for _, what in crontab_lines())

    def printed(line: str) -> str:
        done = subprocess.run(["sh", "-c", line], check=True, cwd="/", stdout=subprocess.PIPE, text=True)
        return done.stdout

    assert printed(check).startswith("job: error: there is no store at ")
    assert printed(night) == ""
    with (tmp_path / "results/nightly.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert printed(night) == ""
    assert printed(check) == ""
    with Store(f"sqlite:///{tmp_path / 'results/ledger.db'}") as store:
        assert [scheduled_run.outcome for scheduled_run in scheduled_runs.newest(store)] == ["completed"]
    assert '"event": "verdict"' in (tmp_path / "results/nightly.log").read_text()


@pytest.mark.parametrize("name", ["nightly", "check"])
def test_what_the_units_start_can_change_the_results_and_nothing_else(name: str) -> None:
    service = unit(f"epoch-ledger-{name}.service")["Service"]
    expected = {"User": "epoch-ledger", "NoNewPrivileges": "true", "PrivateTmp": "true"}
    expected |= {"ProtectSystem": "strict", "ProtectHome": "true"}
    assert dict(service) | expected == dict(service)
    assert service["ReadWritePaths"].lstrip("-") == f"{service['WorkingDirectory']}/results"


@pytest.mark.parametrize("name", ["nightly", "check"])
def test_what_the_cronjobs_start_is_locked_down(name: str) -> None:
    spec, container = cronjob(f"{name}-cronjob.yaml")
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    user = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}
    assert pod["securityContext"] == user | {"seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"memory"} <= set(container["resources"]["limits"])
    settings = {each["name"]: each.get("value") for each in container["env"]}
    assert settings["JOB_DATABASE_PASSWORD_FILE"] == "/run/passwords/password"
    assert "@" in settings["JOB_DATABASE_URL"]
    assert ":" not in settings["JOB_DATABASE_URL"].partition("//")[2], "it has no password"


def test_a_night_that_failed_is_not_trained_again_and_one_that_is_stopped_has_time_to_store() -> None:
    spec, _ = cronjob("nightly-cronjob.yaml")
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["startingDeadlineSeconds"] == GRACE.total_seconds()
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Never", 15)
    service = unit("epoch-ledger-nightly.service")["Service"]
    assert (service["Restart"], service["TimeoutStopSec"]) == ("no", "15s")


def test_the_check_comes_hours_after_the_night() -> None:
    night, check = (when for when, _ in crontab_lines())
    assert (night, check) == ("0 2 * * *", "0 8 * * *")
    for name, when, at in (("nightly", night, "02:00:00"), ("check", check, "08:00:00")):
        assert cronjob(f"{name}-cronjob.yaml")[0]["schedule"] == when
        assert unit(f"epoch-ledger-{name}.timer")["Timer"]["OnCalendar"] == f"*-*-* {at}"
