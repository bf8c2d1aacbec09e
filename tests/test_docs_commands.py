"""Every command in README and docs/ is run as written there; those for containers, as compose reads them."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import time
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from job.cli import app, run
from tests.conftest import ROOT, Job, job_command

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "deploy" / "README.md"]
PAGES.remove(ROOT / "README.zh-CN.md")  # test_docs_chinese.py holds its commands equal to those of README.md
EPOCHS = 330
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ENTRY = {"query": ["query"], "train": []}
"""what an image's entry point puts before the words of `docker compose run`"""
NOT_RUN = ("git pull", "pre-commit install", ".venv/bin/pip install 'epoch-ledger[parquet]'")


def console_lines(page: Path) -> list[str]:
    """The commands of a page, in order."""
    return re.findall(r"^\$ (.+)$", page.read_text(), re.MULTILINE)


def each(program: str) -> list[tuple[str, str]]:
    """(page, line) of the commands that call a program."""
    settings = r"(?:[A-Z_]+=(?:\$\(.*?\)|\S+) )*"
    return [
        (page.name, line)
        for page in PAGES
        for line in console_lines(page)
        if re.match(rf"{settings}{program} ", line)
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the four runs that the pages mention."""
    directory = tmp_path_factory.mktemp("docs")
    (directory / "results").mkdir()
    url = f"sqlite:///{directory}/results/ledger.db"
    for _ in range(4):
        words = ["train", "--epochs", str(EPOCHS), "--no-mirror", "--database-url", url]
        assert run(words) == 0
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / "examples" / "lists_linear.py", tmp_path / "mine.py")
    shutil.copy(ROOT / "examples" / "prices.csv", tmp_path)
    monkeypatch.setenv("JOB_EPOCHS", str(EPOCHS))
    for line in console_lines(page):
        text = line.replace("housing-10000", f"housing-{EPOCHS}").replace("--seeds 0:20", "--seeds 0:3")
        text = text.replace("epoch = 9999", f"epoch = {EPOCHS - 1}")
        if re.search(r"\bdocker compose\b", text):
            continue  # see below
        words = shlex.split(text)
        settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        words = words[len(settings) :]
        if words[0] == "job" and words[1] == "dashboard":
            assert_serves(words[1:])
        elif words[0] == "job":
            done = job(*words[1:], **settings)
            fails = "OPENBLAS_CORETYPE" in settings or line == "job data check prices.csv"
            assert done.returncode == (1 if fails else 0), f"{line}: {done.stderr}"
            assert "--sql" not in words or done.stdout.count("\n") > 1, f"{line}: no rows"
        elif words[0] in ("rm", "cp"):
            subprocess.run(words, check=True)
        else:
            assert words[0] == "make" or line in NOT_RUN, f"nothing tests {line!r}"


def assert_serves(words: list[str]) -> None:
    """The dashboard prints its address, and ends on a signal."""
    server = subprocess.Popen(
        job_command(*words, "--port", "0"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    deadline = time.monotonic() + 60
    while "the dashboard is at http://127.0.0.1:" not in server.stderr.readline():
        assert time.monotonic() < deadline
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=30)
    assert server.returncode == 143


@pytest.mark.parametrize(("page", "line"), each("make"))
def test_a_make_target_is_there(page: str, line: str) -> None:
    assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("page", "line"), each("docker"))
def test_a_compose_line_names_services_and_commands_that_are_there(page: str, line: str) -> None:
    text = re.sub(r"^(?:[A-Z_]+=(?:\$\(.*?\)|\S+) )*", "", line)
    words = shlex.split(text, comments=True)
    assert words[:2] == ["docker", "compose"]
    flags = ("--profile", "--scale", "--rm", "-T", "--detach", "--wait", "--no-deps")
    verb, *rest = [word for word in words[2:] if word not in flags]
    if verb == "run":
        if rest[0] == "--entrypoint":  # not our program
            assert rest[2] in SERVICES
            return
        service, *asked = rest
        assert service in SERVICES
        command = get_command(app)
        asked = [*ENTRY[service], *takewhile(lambda word: word not in ("<", ">"), asked)]
        with command.make_context("job", list(asked)) as context:
            name, found, options = command.resolve_command(context, asked)  # type: ignore[attr-defined]
            assert found is not None, name
            found.make_context(name, options, parent=context).close()
        return
    assert {word.partition(":")[0] for word in rest} & set(SERVICES) or verb in ("build", "down"), line
