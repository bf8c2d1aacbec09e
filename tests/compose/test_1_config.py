"""What the engine makes of the compose file, which tests/test_compose_file.py reads, and of the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compose.project import Project, docker


def test_the_compose_file_is_valid_without_any_settings(project: Project) -> None:
    assert project.compose("config", "--quiet").stderr == ""


def test_a_setting_comes_from_the_environment_or_from_env_files(project: Project, tmp_path: Path) -> None:
    def settings(*arguments: str, **given: str) -> str:
        return project.compose(*arguments, "config", settings=given).stdout

    (tmp_path / "env").write_text("JOB_EPOCHS=17\nLEDGER_TRAIN_MEMORY=2g\n")
    assert 'JOB_EPOCHS: "18"' in settings(JOB_EPOCHS="18")
    from_file = settings("--env-file", str(tmp_path / "env"))
    assert 'JOB_EPOCHS: "17"' in from_file
    assert 'mem_limit: "2147483648"' in from_file


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
