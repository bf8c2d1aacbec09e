"""Draws what commands print on 80 columns, and a report, for docs/screens.md: `python -m docs.screens`.

Trains a default run and 95 of the simulated nights of `tests.year`, runs the commands on a terminal of 80
columns, and takes pictures in the Chromium of `make test-browser`.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import CHROMIUM

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SCREENS = {
    "screen-show": ["job show 1", "job query convergence --run 1"],
    "screen-nights": ["job nights --limit 12 --database-url sqlite:///year.db"],
    "screen-compare": ["job compare 89 88 --database-url sqlite:///year.db"],
    "screen-data-check": ["job data check prices.csv"],
}
BEFORE = ("job train --no-mirror", "job report 1", "tests.year --url sqlite:///year.db --nights 95")
WIDTHS, TOP = (360, 800, 1400), 1500
"""pixels of a report's page, and of its part that is shown"""
COLOURS = {"1": "font-weight:bold", "31": "color:#f77", "32": "color:#7c7", "33": "color:#db6"}
PAGE = """<body style="margin:0;background:#16181a;color:#ddd;padding:12px">
<pre style="font:14px/18px monospace;margin:0;width:80ch;white-space:pre-wrap">{}</pre>"""


def printed(command: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", *command.split()]
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, stdin=theirs, env=environment):  # noqa: S603
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # the end, on Linux
            pass
    os.close(ours)
    return b"".join(parts).decode().replace("\r", "")


def html(text: str) -> str:
    """The text with its colours."""
    styled = re.sub(
        r"\x1b\[([1-9]\d?)m", lambda code: f'<span style="{COLOURS.get(code[1], "")}">', escape(text)
    )
    return styled.replace("\x1b[0m", "</span>")


def picture(browser: Browser, name: str, commands: list[str]) -> None:
    """The screen after these commands, as docs/images/NAME.png."""
    page = browser.new_page(viewport={"width": 720, "height": 10})
    page.set_content(PAGE.format("\n".join(f"$ {command}\n{html(printed(command))}" for command in commands)))
    image = Image.open(BytesIO(page.screenshot(full_page=True)))
    image.quantize(32).save(IMAGES / f"{name}.png", optimize=True)


def report_sheet(browser: Browser, report: Path) -> None:
    """The top of a report at three widths, light above and dark below, as docs/images/report-widths.png."""
    sheet = Image.new("RGB", (sum(WIDTHS) * 2 // 5, 2 * TOP * 2 // 5))
    schemes: list[Literal["light", "dark"]] = ["light", "dark"]
    for row, scheme in enumerate(schemes):
        for column, width in enumerate(WIDTHS):
            page = browser.new_page(viewport={"width": width, "height": TOP}, color_scheme=scheme)
            page.goto(report.as_uri())
            image = Image.open(BytesIO(page.screenshot()))
            small = image.resize((width * 2 // 5, TOP * 2 // 5), Image.Resampling.LANCZOS)
            sheet.paste(small, (sum(WIDTHS[:column]) * 2 // 5, row * TOP * 2 // 5))
    sheet.quantize(64).save(IMAGES / "report-widths.png", optimize=True)


def main() -> None:
    """Train, and draw all pictures."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        os.chdir(place)
        Path("prices.csv").write_bytes((ROOT / "examples" / "prices.csv").read_bytes())
        for command in BEFORE:
            printed(command)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, commands in SCREENS.items():
            picture(browser, name, commands)
        report_sheet(browser, Path("results/report-1.html").resolve())


if __name__ == "__main__":
    main()
