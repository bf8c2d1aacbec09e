"""Every command, option and setting is in the pages."""

from __future__ import annotations

import re

import pytest

from docs.cli_reference import PAGE, commands, page
from tests.conftest import ROOT

SETTING = re.compile(r"\bJOB_[A-Z]+(?:_[A-Z]+)*\b")
TESTS_OWN = {"JOB_TEST_DATABASE_URL"}


def test_the_reference_is_what_the_program_says() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_every_setting_in_the_source_is_documented() -> None:
    used = set()
    for folder in ("job", "db", "migrations", "docker"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".sh"):
                used |= set(SETTING.findall(path.read_text()))
    used |= set(SETTING.findall((ROOT / "docker-compose.yml").read_text()))
    assert used - TESTS_OWN <= set(SETTING.findall(PAGE.read_text()))


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme.partition("## The commands")[2].partition("\n## ")[0]
    for path, _ in commands():
        *_, last = path.split()
        named = re.search(rf"`{path}\b|`job db [^`]*\b{last}\b", table)
        assert named, f"{path} is not in README's table"


def test_every_named_query_is_in_its_page() -> None:
    from db.query import names

    text = (ROOT / "docs" / "queries.md").read_text()
    for name in names():
        assert f"| `{name}` |" in text


@pytest.mark.parametrize(
    "path",
    [
        *sorted(ROOT.glob("docs/*.md")),
        *sorted(ROOT.glob("*.md")),
        ROOT / "deploy/README.md",
        ROOT / "examples/README.md",
    ],
)
def test_links_lead_somewhere(path) -> None:  # type: ignore[no-untyped-def]
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name}: {target}"
