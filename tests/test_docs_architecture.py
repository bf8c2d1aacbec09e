"""docs/architecture.md has a line for each folder of the code, and no other."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def test_each_folder_of_the_code_has_its_line() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    folders = {
        str(path.parent.relative_to(ROOT))
        for top in ("job", "db", "migrations")
        for path in (ROOT / top).rglob("*")
        if path.suffix in (".py", ".sql")
        and path.parent not in (ROOT / "job", ROOT / "migrations" / "versions")
    }
    assert named == folders
