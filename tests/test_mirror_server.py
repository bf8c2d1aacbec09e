"""Each of our parts of VisualDL's server."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from job.errors import MirrorError
from job.mirror import dashboard
from job.mirror.dashboard import Dashboard
from job.mirror.files import ALL
from tests.conftest import ROOT


@pytest.fixture
def server() -> Any:
    from job.mirror import server  # loads VisualDL's server

    return server


@pytest.mark.thorough
def test_one_request_is_answered_at_a_time(server: Any) -> None:
    inside: list[int] = []
    most: list[int] = []

    def application(*_: object) -> None:
        inside.append(1)
        time.sleep(0.05)
        most.append(len(inside))
        inside.pop()

    asked = server.one_at_a_time(application)
    threads = [threading.Thread(target=asked, args=({}, None)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_a_request_may_take_as_long_as_the_docs_say(server: Any) -> None:
    (seconds,) = re.findall(
        r"A request is cut off after (\d+) s", (ROOT / "docs" / "visualdl.md").read_text()
    )
    assert float(seconds) == server.LIMIT == 60


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", "http://127.0.0.1:80/app/index"),
        ("::", "http://[::1]:80/app/index"),
        ("::1", "http://[::1]:80/app/index"),
        ("lab.example", "http://lab.example:80/app/index"),
    ],
)
def test_the_address_that_is_told_can_be_opened(host: str, expected: str) -> None:
    assert dashboard.url(host, 80) == expected


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            MirrorError, match=f"cannot have '127.0.0.1' port {port}: Address already in use; "
        ):
            dashboard.free_address("127.0.0.1", port)


class Pauses(threading.Event):
    """Records how long it is waited for, and is set after the tenth pause. No real time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if timeout != dashboard.STARTING:
            self.noted.append(timeout or 0.0)
        if len(self.noted) == 10:
            self.set()
        return self.is_set()


@pytest.mark.process
def test_a_server_that_dies_at_once_is_started_after_longer_and_longer_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    stop = Pauses()
    monkeypatch.setattr(dashboard, "STARTING", 0.01)
    made = Dashboard(
        *(tmp_path, "127.0.0.1", 0),
        shown=ALL,
        allowed_hosts=(),
        points=0,
        repair_logs=lambda: said.append("mended"),
        stop=stop,
        log_line=said.append,
    )
    dies = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(made, "_start", lambda: subprocess.Popen(dies, stdin=subprocess.PIPE))
    made.run()
    assert stop.noted == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert said[1] == "VisualDL ended with status 3; starting it again in 1 s"
    assert len(said) == 10
    assert "mended" not in said


def test_a_server_that_does_not_heed_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "FAREWELL", 0.1)
    program = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        dashboard.end(deaf)
        status = deaf.returncode
        deaf.kill()
    assert status == -9
