"""The code in docs/walkthrough.md is the code that runs."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "walkthrough.md").read_text()
SOURCES = [path.read_text() for path in sorted((ROOT / "job" / "models").glob("*.py"))]
BLOCKS = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)


def stands_in(block: str, source: str) -> bool:
    """Whether the lines of a block follow each other in a source, however far they are indented."""
    wanted, lines = block.rstrip().splitlines(), source.splitlines()
    return any(
        dedent("\n".join(lines[i : i + len(wanted)])) == "\n".join(wanted)
        for i in range(len(lines) - len(wanted) + 1)
    )


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_code_stands_so_in_the_source(block: str) -> None:
    assert any(stands_in(block, source) for source in SOURCES)


def test_there_is_code_of_both_models() -> None:
    assert len(BLOCKS) >= 5
