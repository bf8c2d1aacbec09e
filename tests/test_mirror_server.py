"""Each of our parts of VisualDL's server."""

from __future__ import annotations

import itertools
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from job.errors import MirrorError
from job.mirror import dashboard, records
from job.mirror.dashboard import Dashboard
from tests.conftest import ROOT
from tests.samples import history, run_row


@pytest.fixture
def server() -> Any:
    from job.mirror import server  # loads VisualDL's server

    return server


def test_a_log_is_read_record_by_record_while_it_grows(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows by a byte, and by pieces shorter than a record; then it is cut, and grows again."""
    monkeypatch.setattr(server, "AT_A_TIME", 7)
    content = records.head(run_row(), "paddle") + records.epoch_records(history(2))
    ends = [0, *(end for end, _ in records.values(content))]
    expected = [content[begin + 8 : end] for begin, end in itertools.pairwise(ends)]
    path = tmp_path / "log"
    reader = server.WholeRecords(str(path))
    found = []
    for size in [*range(len(content) - 3), ends[-2] + 1, ends[-2], len(content)]:
        path.write_bytes(content[:size])
        found += all_records(reader)
        assert found == expected[: sum(end <= size for end in ends) - 1]
    path.unlink()
    assert all_records(reader) == []
    assert len(found) == 8


def all_records(reader: Any) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            reader.get_next()
        except EOFError:
            return found
        found.append(reader.record())


def test_runs_stand_in_the_order_of_their_numbers_and_only_logs_are_shown(
    server: Any, tmp_path: Path
) -> None:
    log = records.head(run_row(), "paddle")
    for name in ("10/python", "9/paddle", "10/paddle", "mine/2", "100/paddle"):
        directory = tmp_path / name
        directory.mkdir(parents=True)
        (directory / "vdlrecords.main.log").write_bytes(log)
    (tmp_path / "9" / "paddle" / "vdlrecords.zzz.log").write_bytes(log)
    (tmp_path / "mine" / "2" / "vdlrecords.main.log").rename(tmp_path / "mine" / "2" / "vdlrecords.1.log")
    (tmp_path / "10" / "python" / "vdlrecords.tmp").write_bytes(b"no log at all")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "vdlrecords.main.log").write_bytes(log[:20])
    os.mkfifo(tmp_path / "none" / "vdlrecords.pipe")
    reader = SimpleNamespace()
    server.list_logs(reader)
    ours = ["vdlrecords.main.log"]
    assert list(reader.walks.items()) == [
        ("mine/2", ["vdlrecords.1.log"]),
        ("9/paddle", ours),
        ("10/paddle", ours),
        ("10/python", ours),
        ("100/paddle", ours),
    ]


def test_one_request_is_answered_at_a_time(server: Any) -> None:
    inside: list[int] = []
    most: list[int] = []

    def application(*_: object) -> None:
        inside.append(1)
        time.sleep(0.05)
        most.append(len(inside))
        inside.pop()

    asked = server.OneAtATime(application)
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
        if timeout != dashboard.POLL:
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
    monkeypatch.setattr(dashboard, "POLL", 0.01)
    made = Dashboard(
        *(tmp_path, "127.0.0.1", 0),
        allowed_hosts=(),
        points=lambda: 0,
        repair_logs=lambda: said.append("mended"),
        stop=stop,
        log_line=said.append,
    )
    dies = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(made, "_start", lambda: subprocess.Popen(dies, stdin=subprocess.PIPE))
    made.run()
    assert stop.noted == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert said[:2] == ["mended", "VisualDL ended with status 3; starting VisualDL again in 1 s"]
    assert said.count("mended") == 9


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
