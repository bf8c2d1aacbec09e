"""Notifications reach the addresses, and the addresses appear nowhere else."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from db.store import Store
from job.cli import run
from job.errors import NotifyError
from job.schedule.notify import notifier, sent
from tests.samples import execute

Output = pytest.CaptureFixture[str]


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[Any]]]:
    """An address of apprise's kind `json://`, and what was sent to it."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"json://secret:token@127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


@pytest.mark.thorough
def test_every_address_hears_of_it(
    inbox: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    address, received = inbox
    said: list[str] = []
    monkeypatch.setenv("JOB_NOTIFY_URLS", f"{address}/a\n {address}/b json://secret:token@127.0.0.1:1/")
    notifier(said.append)("a scheduled run failed", "run 3 drifted")
    assert [(each["title"], each["message"]) for each in received] == [
        ("a scheduled run failed", "run 3 drifted")
    ] * 2
    assert said == ["a scheduled run failed: address 3 of 3 in JOB_NOTIFY_URLS could not be notified"]
    assert capfd.readouterr() == ("", "")


def test_a_plugin_that_raises_has_not_sent() -> None:
    def notify(**_: str) -> bool:
        raise RuntimeError("a fault of its own")

    assert not sent(SimpleNamespace(notify=notify), "title", "body")


def test_without_addresses_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    said: list[str] = []
    notifier(said.append)("title", "body")
    assert said == []


def test_an_address_that_cannot_be_used_is_refused_without_being_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setenv("JOB_NOTIFY_URLS", "nonsense://secret")
    assert run(["nightly", "--once"]) == 2
    said = capsys.readouterr().err
    assert "JOB_NOTIFY_URLS: address 1 of 1 is not one that apprise knows" in said
    assert "secret" not in said
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(NotifyError, match=r"pip install .epoch-ledger\[notify\]"):
        notifier(print)


def test_a_night_that_fails_is_told_of(
    inbox: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch, sqlite_url: str, capfd: Any
) -> None:
    address, received = inbox
    monkeypatch.setenv("JOB_NOTIFY_URLS", address)
    options = ["nightly", "--once", "--database-url", sqlite_url, "--epochs", "5"]
    assert run(options) == 0
    assert received == []
    assert run([*options, "--data", "gone.csv"]) == 2
    assert "failed: gone.csv" in received[0]["message"]
    assert run([*options, "--learning-rate", "1e30"]) == 1
    assert "run 2, diverged" in received[1]["message"]
    with Store(sqlite_url) as store:  # make this run differ from the next
        execute(
            store,
            "UPDATE epochs SET test_loss = 1 WHERE run_id = 1 AND epoch = 3",
            "UPDATE blocks SET digest = 'other' WHERE run_id = 1 AND last_epoch >= 3",
        )
    assert run(options) == 1
    assert "drift: against run 1: paddle: first differing epoch 3" in received[2]["message"]
    assert len(received) == 3
    assert "token" not in "".join(capfd.readouterr())
