"""What the compose file says, before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.compose.project import ROOT, Project, docker


def test_the_compose_file_is_valid_without_any_settings(project: Project) -> None:
    assert project.compose("config", "--quiet").stderr == ""


def test_only_visualdl_publishes_a_port_and_only_on_loopback(project: Project) -> None:
    ports = {
        name: [(port["host_ip"], port["target"]) for port in service.get("ports", [])]
        for name, service in project.config()["services"].items()
    }
    assert {name: where for name, where in ports.items() if where} == {"visualdl": [("127.0.0.1", 8040)]}


def test_every_service_is_locked_down(project: Project) -> None:
    for name, service in project.config()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert not service.get("privileged"), name
        assert set(service.get("cap_add", [])) <= (
            {"CHOWN", "DAC_OVERRIDE"} if name == "passwords" else set()
        )


def test_only_the_database_sees_the_superusers_password(project: Project) -> None:
    services = project.config()["services"]
    holders = {
        name: {
            mount["source"] for mount in service.get("volumes", []) if mount["source"].endswith("-password")
        }
        for name, service in services.items()
        if name != "passwords"
    }
    everything = {"postgres-password", "ledger-password", "ledger-reader-password"}
    writers = {"migrate", "train", "nightly", "sweep", "worker"}
    for name, held in holders.items():
        allowed = {"ledger-password"} if name in writers else {"ledger-reader-password"}
        allowed = {"db": everything, "scheduler": set()}.get(name, allowed)
        assert held == allowed, name


def test_a_setting_comes_from_the_environment_or_from_env_files(project: Project, tmp_path: Path) -> None:
    def settings(*arguments: str, **given: str) -> str:
        return project.compose(*arguments, "config", settings=given).stdout

    (tmp_path / "env").write_text("JOB_EPOCHS=17\nLEDGER_TRAIN_MEMORY=2g\n")
    assert 'JOB_EPOCHS: "18"' in settings(JOB_EPOCHS="18")
    from_file = settings("--env-file", str(tmp_path / "env"))
    assert 'JOB_EPOCHS: "17"' in from_file
    assert 'mem_limit: "2147483648"' in from_file


def documented() -> set[str]:
    """The settings that .env.example has a line for."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return {line.lstrip("# ").partition("=")[0] for line in lines if line.startswith(("# JOB_", "# LEDGER_"))}


def test_env_example_documents_every_setting_of_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = set(re.findall(r"\$\{(\w+)", text)) | set(re.findall(r"^ +(JOB_\w+):$", text, re.MULTILINE))
    assert used == documented()


@pytest.mark.parametrize("target", ["job", "dashboard"])
def test_an_image_holds_what_it_needs_and_no_more(project: Project, target: str) -> None:
    project.compose("build", {"job": "train", "dashboard": "visualdl"}[target])
    image = project.images[target]

    def shell(script: str) -> str:
        return docker("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script).strip()

    size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
    print(f"size of {target}: {size / 1e6:.0f} MB")
    assert size < {"job": 1.5e9, "dashboard": 0.7e9}[target]
    assert shell("id -u; id -g").split() == ["10001", "10001"]
    assert docker("image", "inspect", "--format", "{{.Config.User}}", image).strip() == "10001:10001"
    assert shell("ls -d /app/migrations/versions/0001* /app/data/housing.data")
    assert shell("for tool in pip pip3 gcc cc make git uv; do command -v $tool; done; true") == ""
    left = "-name .cache -o -name hatchling -o -name .git -o -name .env"
    assert shell(f"find / -xdev \\( {left} \\) 2>/dev/null; true") == ""
    assert shell("ls /var/lib/apt/lists") == ""
    paddle = shell("find / -xdev -path '*/site-packages/paddle*' 2>/dev/null | head -n 1; true")
    assert bool(paddle) is (target == "job")
    labels = docker("image", "inspect", "--format", "{{json .Config.Labels}}", image)
    for name in ("title", "description", "licenses", "version", "base.name"):
        assert f'"org.opencontainers.image.{name}":"' in labels
    assert f'"org.opencontainers.image.revision":"{project.commit}"' in labels
