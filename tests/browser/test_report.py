"""The report as a browser shows it, with the network cut off."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
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
        *("Outcome", "Verdicts", "Answers", "Figures"),
        "Environment of the run",
    ]
    assert page.locator(".verdict").first.inner_text().split() == [
        *("passed", "all", "4", "verdicts:", "integrity,", "parity,", "exact")
    ]
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href") or "").count() == 1
    images = page.locator("figure img")
    assert images.count() == 5  # the two models' parameters look the same
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


@pytest.mark.parametrize("width", [360, 390, 800, 1400])
def test_the_report_fits_any_screen(page: Page, report: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    lines = "nodes => nodes.map(node => node.getClientRects().length)"
    assert {*page.locator(".n").evaluate_all(lines)} == {1}  # no number is broken


LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
LIGHTNESS = """([selector, property]) => {
    const colour = getComputedStyle(document.querySelector(selector))[property];
    const [r, g, b] = colour.match(/[0-9.]+/g).map(Number);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_differs_from_its_ground_in_both_schemes(page: Page, report: Path, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(report.as_uri())

    def lightness(selector: str, kind: str) -> float:
        return float(page.evaluate(LIGHTNESS, [selector, kind]))

    ground = lightness("body", "backgroundColor")
    assert ground > 200 if scheme == "light" else ground < 50
    for selector in ("body", ".quiet", "a", "summary", "figcaption", "td", "dd"):
        assert abs(lightness(selector, "color") - ground) > 100, selector
    card = lightness(".verdict", "backgroundColor")
    assert abs(lightness(".verdict", "color") - card) > 100
    shown = image.imread(io.BytesIO(page.locator("figure img").first.screenshot()))[..., :3] @ LUMINANCE
    assert abs(255 * np.median(shown) - ground) < 8  # a figure has the ground of the page
    assert abs(shown - ground / 255).max() > 0.8  # and ink that is seen on it
