"""README.zh-CN.md has everything that README.md has, in the same order."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.conftest import ROOT

ENGLISH, CHINESE = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Part(NamedTuple):
    """What a translation keeps of a heading, paragraph, list item, table row or image."""

    mark: str
    code: list[str]
    links: list[str]
    numbers: list[str]


def parts(page: str) -> list[Part]:
    """The parts of a page, each block in it as one without code."""
    return [part(text) for text in re.split(r"\n+(?=#|\* |\||!\[|```)|\n{2,}", BLOCK.sub("```", page))]


def part(text: str) -> Part:
    mark = re.match(r"#+|\* |\||!\[|```|", text)
    assert mark
    prose = re.sub(r"`[^`]+`|\]\([^)]*\)|<[^>]*>", " ", text)
    return Part(
        mark[0],
        sorted(" ".join(word.split()) for word in re.findall(r"`([^`]+)`", text)),
        sorted(re.findall(r"(?<=\]\()(?!README)[^)]+|(?<=<)http[^>]+", text)),
        sorted(re.findall(r"\d+(?:[.,]\d+)*", prose)),
    )


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of a page's blocks; a diagram's labels are translated, so without them."""
    return [(language, "" if language == "mermaid" else text) for language, text in BLOCK.findall(page)]


def test_the_chinese_readme_has_the_same_blocks() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_the_chinese_readme_has_every_heading_paragraph_item_row_and_image() -> None:
    assert [each.mark for each in parts(CHINESE)] == [each.mark for each in parts(ENGLISH)]


def test_each_part_of_the_chinese_readme_has_the_same_code_links_and_numbers() -> None:
    for chinese, english in zip(parts(CHINESE), parts(ENGLISH), strict=True):
        assert chinese == english
