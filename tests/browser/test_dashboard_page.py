"""What a person sees of the dashboard: in a real Chromium, over a store of real runs."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, Response, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.conftest import ROOT, job_command
from tests.samples import write_csv

PICTURES = ROOT / "results" / "browser"
RUNS = ["1/paddle", "1/python", "2/paddle", "2/python"]
PATIENCE = 60_000
"""milliseconds for the page to show something; a machine with much to do takes long"""
COLOURED = """canvas => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let coloured = 0;
  for (let i = 0; i < data.length; i += 4) {
    const spread = Math.max(...data.slice(i, i + 3)) - Math.min(...data.slice(i, i + 3));
    if (data[i + 3] > 128 && spread > 60) coloured++;
  }
  return coloured;
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the store and the logs of two runs."""
    directory = tmp_path_factory.mktemp("dashboard")
    for seed in (0, 1):
        subprocess.run(
            job_command("train", "--epochs", 2_000, "--seed", seed),
            cwd=directory,
            env=surroundings(),
            check=True,
            capture_output=True,
        )
    return directory


def surroundings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("JOB_")}


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    """The address that a running dashboard prints."""
    command = job_command("dashboard", "--port", 0)
    with subprocess.Popen(
        command, cwd=place, env=surroundings(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "the dashboard is at" in line)
            yield line.split()[-1]
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def page(url: str) -> Iterator[Page]:
    """A page that has asked nobody but the dashboard, and nothing that it refuses, when the test is over."""
    hosts: set[str] = set()
    refused: set[str] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        shown = browser.new_page(viewport={"width": 1720, "height": 900})
        shown.set_default_timeout(PATIENCE)
        shown.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        shown.on("response", lambda response: refused.add(response.url) if response.status >= 400 else None)
        shown.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).netloc))
        yield shown
        shown.close()
        browser.close()
    assert hosts - {""} == {urlsplit(url).netloc}  # data: and blob: have no host
    assert [path for path in refused if not path.endswith("/icons/dragger.svg")] == []  # VisualDL lacks it


def coloured(page: Page, chart: int) -> int:
    """Pixels of a chart that are neither paper nor ink: those of its curves."""
    return int(page.locator("canvas").nth(chart).evaluate(COLOURED))


def wait_until_drawn(page: Page, charts: int) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while page.locator("canvas").count() < charts or min(coloured(page, i) for i in range(charts)) < 100:
        assert time.monotonic() < deadline, "the charts stay empty"
        page.wait_for_timeout(200)


def keep(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(1_000)  # the curves are drawn in an animation
    page.screenshot(path=PICTURES / f"{name}.png")


def wait_for_runs(page: Page, runs: list[str]) -> None:
    for run in runs:
        page.get_by_text(run, exact=True).first.wait_for()


def test_the_page_opens_on_the_scalars_of_both_models_in_one_chart(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("heading", name="loss").wait_for()  # the tags themselves are drawn into the charts
    wait_for_runs(page, RUNS)
    wait_until_drawn(page, 2)
    assert page.locator("canvas").count() == 2
    keep(page, "scalars")


def test_the_histograms_of_the_weights_are_drawn(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_text("Histogram", exact=True).click()
    page.get_by_role("heading", name="weights").wait_for()
    wait_for_runs(page, RUNS)
    wait_until_drawn(page, len(RUNS))
    keep(page, "histograms")


def test_the_hyper_parameters_show_the_final_losses(page: Page, url: str, place: Path) -> None:
    from db.store import Store

    page.goto(url)
    page.get_by_text("Hyper Parameters", exact=True).first.click()
    wait_for_runs(page, RUNS)
    with Store(f"sqlite:///{place / 'results' / 'ledger.db'}") as store:
        for run in (1, 2):
            for model in ("paddle", "python"):
                last = store.history(run, model, 1_999)
                for loss in (last.train_loss[0], last.test_loss[0]):
                    page.get_by_title(str(float(loss)), exact=True).first.wait_for(state="attached")
    page.set_viewport_size({"width": 1960, "height": 900})  # wide enough for the columns of the losses
    keep(page, "hyper-parameters")


def test_a_live_runs_last_step_grows(page: Page, url: str, place: Path) -> None:
    """The page is left alone: what it asks for by itself, and shows, is what a person sees."""
    answers: list[tuple[float, list[list[float]]]] = []

    def note(response: Response) -> None:
        query = parse_qs(urlsplit(response.url).query)
        if "scalar/list" in response.url and query["run"] == ["3/python"] and query["tag"] == ["loss/train"]:
            answers.append((time.time(), response.json()["data"]))

    # A large table, whose epochs take as long as those of trainings that one would sit and watch.
    data = write_csv(place / "large.csv", rows=40_000, features=13)
    command = job_command("train", "--epochs", 400_000, "--data", data)
    with subprocess.Popen(
        command, cwd=place, env=surroundings(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as training:
        try:
            wait_for_log(place / "results" / "visualdl" / "3" / "python" / "vdlrecords.main.log")
            page.on("response", note)
            page.goto(url)
            wait_for_runs(page, ["3/python"])
            deadline = time.monotonic() + 3 * PATIENCE / 1000
            while len({points[-1][1] for _, points in answers}) < 4:
                assert time.monotonic() < deadline, "the live run stands still"
                page.wait_for_timeout(500)
            page.remove_listener("response", note)
            wait_until_drawn(page, 2)
            keep(page, "live")
        finally:
            training.terminate()
            training.wait(60)
    last_steps = [points[-1][1] for _, points in answers]
    assert last_steps == sorted(last_steps)
    print(delays(answers))


def wait_for_log(log: Path) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while not log.exists():
        assert time.monotonic() < deadline, "the run is not drawn"
        time.sleep(0.2)


def delays(answers: list[tuple[float, list[list[float]]]]) -> str:
    """How long after its training each epoch was on the page, from the second answer on."""
    waited: list[float] = []
    for (_, before), (moment, points) in itertools.pairwise(answers):
        waited += [moment - trained / 1000 for trained, step, _ in points if step > before[-1][1]]
    moments = [moment for moment, _ in answers]
    newest = [moment - points[-1][0] / 1000 for moment, points in answers]
    return (
        f"{len(waited):,} epochs on the page after {np.median(waited):.1f} s (median), "
        f"{np.max(waited):.1f} s (worst); it asked every {np.median(np.diff(moments)):.1f} s, at most "
        f"{np.max(np.diff(moments)):.1f} s, and got points as old as {np.median(newest):.1f} s, at most "
        f"{np.max(newest):.1f} s"
    )
