"""The dashboard keeps VisualDL's server running over sound logs, and stops it when it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import delete

from db.schema import RunRow
from db.store import Store
from job.cli import run
from job.mirror.logs import RunLogs
from job.mirror.repair import repair_logs
from tests.conftest import Job, job_command
from tests.samples import dataset_row, history
from tests.visualdl_logs import assert_run_drawn, log_of


class Served:
    """A dashboard in its own process, and the output of its server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def read_until(self, text: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}: {self.lines}")

    def url(self) -> str:
        return self.read_until("the dashboard is at").split()[-1]

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run_query(url: str, what: str) -> Any:
    with urllib.request.urlopen(url.replace("/index", "/api/" + what), timeout=30) as answer:
        return json.load(answer)["data"]


@pytest.fixture
def url(sqlite_url: str) -> str:
    """A store of two runs of 20 and 1,500 epochs."""
    with Store(sqlite_url, create=True) as store:
        for epochs in (20, 1_500):
            run = store.start_run(dataset_row(), epochs=epochs, learning_rate=0.1, seed=0, environment={})
            for model in ("paddle", "python"):
                run.append(model, history(epochs))
            run.finish("completed")
    return sqlite_url


@pytest.fixture
def served(url: str, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A dashboard with the options that the test is parametrized with, if any."""
    options = getattr(request, "param", ())
    command = job_command("dashboard", "--port", 0, "--database-url", url, "--log-dir", "logs", *options)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.kill()


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_it_draws_and_shows_every_run_and_every_point(url: str, served: Served) -> None:
    page = served.url()
    assert page.startswith("http://127.0.0.1:")
    served.read_until("checked the logs of 2 of 2 runs")
    assert run_query(page, "runs") == ["1/paddle", "1/python", "2/paddle", "2/python"]
    points = run_query(page, "scalar/list?run=2/paddle&tag=loss/train")
    assert [point[1] for point in points] == list(range(1_500))
    with Store(url) as store:
        last = store.history(2, "python", 1_499)
        assert_run_drawn(Path("logs"), store, 2)
    host, port = urlsplit(page).netloc.split(":")
    with socket.create_connection((host, int(port))):  # a browser that connects in advance and sends nothing
        metrics = run_query(page, "hparams/list")[3]["metrics"]
    assert metrics == {"loss/train": last.train_loss[0], "loss/test": last.test_loss[0]}
    script = page.replace("/app/index", "/app/_dist_/hooks/useRequest.js")
    with urllib.request.urlopen(script, timeout=30) as answer:
        text = answer.read().decode()
    assert "10*1e3" in text, "the page asks for new points too seldom"
    assert "15*1e3" not in text
    (server,) = served.children()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(20) == 143
    assert gone(server)


@pytest.mark.slow
def test_it_starts_the_server_again_when_it_died_and_draws_logs_that_were_removed(
    url: str, served: Served
) -> None:
    page = served.url()
    served.read_until("checked the logs of 2 of 2 runs")
    shutil.rmtree(Path("logs") / "1")
    (server,) = served.children()
    os.kill(server, signal.SIGKILL)
    served.read_until("VisualDL ended with status -9")
    assert served.url() == page

    served.read_until("checked the logs of 2 of 2 runs")
    assert len(run_query(page, "runs")) == 4
    assert len(run_query(page, "scalar/list?run=1/python&tag=loss/test")) == 20

    (server,) = served.children()
    served.process.kill()
    assert gone(server)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("has_store", "expected"),
    [
        (True, "are read only: mending them is left to `job mirror`"),
        (False, "the logs are shown as they are: there is no store"),
    ],
)
def test_read_only_logs_are_shown_as_far_as_they_go(url: str, has_store: bool, expected: str) -> None:
    """By a user without a home or write permission, as in a container; one log is torn, one foreign."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "logs"
        with Store(url) as store:
            repair_logs(store, directory, print)
        log = log_of(directory, 2, "paddle")
        os.truncate(log, log.stat().st_size - 3)
        (directory / "1" / "vdlrecords.tmp").write_bytes(b"torn")
        for path in (Path(place), directory, *directory.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        command = job_command("dashboard", "--port", 0, "--log-dir", directory)
        command += ["--database-url", url] if has_store else []
        if os.getuid() == 0:  # this capability lets root write anywhere
            command = ["setpriv", "--bounding-set=-dac_override", *command]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"HOME": "/nonexistent"}
        ) as process:
            served = Served(process)
            try:
                page = served.url()
                assert run_query(page, "runs") == ["1/paddle", "1/python", "2/paddle", "2/python"]
                assert len(run_query(page, "scalar/list?run=2/paddle&tag=loss/test")) == 1_500
                served.read_until(expected)
            finally:
                process.kill()
        Path(place).chmod(0o755)
        for path in (directory, *directory.rglob("*")):
            path.chmod(0o755)


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_draws(
    number: signal.Signals, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def draws_for_long(*_arguments: object) -> None:
        os.kill(os.getpid(), number)
        for _ in range(100):
            time.sleep(0.05)
        drawn.append("every run")

    monkeypatch.setattr("job.mirror.repair.repair_logs", draws_for_long)
    assert run(["dashboard", "--port", "0", "--database-url", url]) == 128 + number
    assert drawn == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--host", "192.0.2.1"), "the dashboard cannot have '192.0.2.1' port 8040"),
        (("--points", "9"), "9 are too few for a chart"),
        (("--runs", "0"), "Input should be greater than or equal to 1"),
        (("--all", "--run", "1"), "give either --run or --all"),
        (("--host", "..a"), "the dashboard cannot have '..a' port 8040"),
        (("--log-dir", "/proc/logs"), "the log directory /proc/logs cannot be made"),
    ],
)
def test_an_address_or_a_directory_that_cannot_be_had_is_one_line(
    job: Job, arguments: tuple[str, ...], message: str
) -> None:
    done = job("dashboard", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


@pytest.mark.parametrize("reference", ["3", "x", "latest"])
def test_a_run_that_is_not_there_is_one_line(job: Job, url: str, reference: str) -> None:
    with Store(url) as store:
        if reference == "latest":
            store.write(lambda session, _: session.execute(delete(RunRow)))
    done = job("dashboard", "--run", reference, "--database-url", url)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "run" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("served", [["--run", "1"]], indirect=True)
def test_only_the_named_run_is_drawn_and_shown(served: Served) -> None:
    page = served.url()
    served.read_until("checked the logs of 1 of 1 runs")
    assert run_query(page, "runs") == ["1/paddle", "1/python"]
    assert run_query(page, "scalar/tags")["runs"] == ["1/paddle", "1/python"]
    assert not (Path("logs") / "2").exists()
    assert "showing run 1; " in "".join(served.lines)


@pytest.mark.slow
@pytest.mark.parametrize("served", [["--runs", "1"]], indirect=True)
def test_a_new_run_takes_the_place_of_the_oldest(url: str, served: Served) -> None:
    page = served.url()
    served.read_until("checked the logs of 1 of 1 runs")
    assert run_query(page, "runs") == ["2/paddle", "2/python"]
    time.sleep(2)  # it looks once a second
    with Store(url) as store:
        run = store.start_run(dataset_row(), epochs=30, learning_rate=0.1, seed=0, environment={})
        run.append("python", history(10))
        with RunLogs(Path("logs"), store.run(3), print) as logs:
            logs.write(store)
            served.read_until("now shown: run 3; no longer: run 2")
            assert run_query(page, "runs") == ["3/python"]
            run.append("python", history(5, first_epoch=10))
            logs.write(store)
        assert len(run_query(page, "scalar/list?run=3/python&tag=loss/train")) == 15
    assert run_query(page, "scalar/list?run=2/python&tag=loss/train") is None
