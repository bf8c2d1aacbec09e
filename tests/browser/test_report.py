"""The report as a browser shows it, with the network cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.conftest import Job
from tests.samples import write_csv


@pytest.fixture
def report(job: Job, tmp_path: Path, sqlite_url: str) -> Path:
    """The report of a real, short run."""
    data = write_csv(tmp_path / "made.csv", rows=60)
    for command in (
        ("train", "--epochs", 200, "--data", data, "--database-url", sqlite_url),
        ("report", "1", "-o", tmp_path / "report.html", "--database-url", sqlite_url),
    ):
        done = job(*command)
        assert done.returncode == 0, done.stderr
    return tmp_path / "report.html"


def test_the_report_is_whole_without_a_network(page: Page, report: Path, tmp_path: Path) -> None:
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.context.set_offline(True)
    page.goto(report.as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    assert page.locator("h2").all_inner_texts() == [
        *("Verdicts", "Answers", "Figures"),
        "Environment of the run",
    ]
    assert "parity:\npassed" in page.locator(".verdict").first.inner_text() or "parity: passed" in (
        page.locator(".verdict").first.inner_text()
    )
    images = page.locator("figure img")
    assert images.count() == 6
    for i in range(images.count()):
        width, height = images.nth(i).evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert width > 300
        assert height > 300
    first = page.locator("details").first
    assert not first.locator("table").is_visible()
    first.locator("summary").click()
    assert first.locator("table").is_visible()
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert (tmp_path / "report.png").stat().st_size > 50_000


def test_the_report_fits_a_phone(page: Page, report: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
