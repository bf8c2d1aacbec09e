"""Which requests the dashboard answers, and that no client can block the answers to others."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from db.store import Store
from job.mirror.repair import repair_logs
from tests.conftest import job_command
from tests.samples import dataset_row, history

pytestmark = pytest.mark.slow  # starts its own servers

HALF_SENT = {
    "an upload": b"POST /app/api/graph/upload HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 600000000\r\n\r\n--x\r\n",
    "a body": b"GET /app/api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx",
    "a header": b"GET /app/api/runs HTTP/1.1\r\nHost: loc",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store and the logs of one run."""
    directory = tmp_path_factory.mktemp("dashboard")
    (directory / "results").mkdir()
    with Store(f"sqlite:///{directory / 'results' / 'ledger.db'}", create=True) as store:
        run = store.start_run(dataset_row(), epochs=50, learning_rate=0.1, seed=0, environment={})
        run.append("python", history(50))
        run.finish("completed")
        repair_logs(store, directory / "results" / "visualdl", print)
    return directory


@contextmanager
def serving(place: Path, *options: object, **environment: str) -> Iterator[tuple[int, list[str]]]:
    """The port of a dashboard over `place`, and its output until it serves."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("JOB_")}
    surroundings["FLASK_DEBUG"] = "1"  # would run code that a browser sends
    with subprocess.Popen(
        job_command("dashboard", "--port", 0, *options),
        cwd=place,
        env=surroundings | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:
                said.append(line)
                if "the dashboard is at" in line:
                    break
            yield urlsplit(said[-1].split()[-1]).port or 0, said
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def port(place: Path) -> Iterator[int]:
    """Of a dashboard with its defaults, and two more names."""
    with serving(place, JOB_DASHBOARD_ALLOW_HOST="Lab.Example dash.example") as (found, _):
        yield found


def run_named_query(port: int, path: str, method: str = "GET", host: str = "localhost") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


@pytest.mark.parametrize("what", HALF_SENT)
def test_a_half_sent_request_keeps_nobody_waiting(port: int, what: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(HALF_SENT[what])
        time.sleep(0.2)  # so that it arrives first
        assert run_named_query(port, "/app/api/runs") == (
            200,
            '{"status": 0, "msg": "", "data": ["1/python"]}',
        )


def test_a_request_for_what_is_not_there_keeps_nobody_waiting(port: int) -> None:
    """VisualDL waits for four seconds and blocks all requests meanwhile."""
    begun = time.monotonic()
    for number in range(10):
        assert (
            '"data": null'
            in run_named_query(port, f"/app/api/scalar/list?run={number}/none&tag=loss/train")[1]
        )
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "UPLOAD"])
@pytest.mark.parametrize("path", ["/app/api/runs", "/app/api/graph/upload", "/app/index"])
def test_what_is_neither_get_nor_head_is_refused(port: int, method: str, path: str) -> None:
    assert run_named_query(port, path, method)[0] == 405


@pytest.mark.parametrize("path", ["/app/api/runs", "/app/index"])
def test_head_is_answered_without_a_body(port: int, path: str) -> None:
    assert run_named_query(port, path, "HEAD") == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        "/app/api/graph/upload",
        "/app/api/graph/graph?run=1/python&expand_all=true&refresh=true",
        "/app/api/graph/static_graph",
        "/app/api/graph_runs",
        "/app/api/profiler/runs",
        "/app/api/profiler/overview/overview?run=1/python",
        "/app/api/embedding/list",
        "/app/api/image/image?mode=1/python&tag=a&index=0",
        "/app/api/logs",
        "/app/api/nothing",
        "/nothing",
    ],
)
def test_what_no_shown_tab_asks_for_is_not_there(port: int, path: str) -> None:
    assert run_named_query(port, path)[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/alive",
        "/favicon.ico",
        "/app/histogram",
        "/app/locales/en/common.json",
        "/app/api/component_tabs",
        "/app/api/components",
        "/app/api/scalar/tags",
        "/app/api/scalar/list?run=1/python&tag=loss/train",
        "/app/api/scalar/data?run=1/python&tag=loss/train&type=csv",
        "/app/api/histogram/tags",
        "/app/api/histogram/list?run=1/python&tag=weights",
        "/app/api/hparams/list",
        "/app/api/hparams/indicators",
        "/app/api/hparams/importance",
        "/app/api/hparams/metric?run=1/python&metric=loss/train",
        "/app/api/hparams/data?type=csv",
    ],
)
def test_what_the_shown_tabs_ask_for_is_answered(port: int, path: str) -> None:
    status, text = run_named_query(port, path)
    assert status == (204 if path == "/alive" else 200)
    assert ('"data": null' in text) is path.endswith("importance")  # for a single run, VisualDL finds none


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8040", "LocalHost:1", "127.0.0.1", "127.0.0.1:8040", "[::1]", "[::1]:80"),
        *("lab.example", "dash.example:8040"),
    ],
)
def test_the_names_of_this_machine_and_those_allowed_are_answered(port: int, host: str) -> None:
    assert run_named_query(port, "/app/api/runs", host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8040",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evillocalhost",
        ),
        *("other.lab.example", "192.0.2.1", "192.0.2.1:8040", "[2001:db8::1]", "localhost, evil.example"),
        *("evil.example@localhost", "localhost:8040@evil.example", "", ":8040", "[", "0.0.0.0"),
    ],
)
@pytest.mark.parametrize("path", ["/app/index", "/app/api/runs", "/alive", "/nothing"])
def test_another_host_is_refused(port: int, path: str, host: str) -> None:
    """As in a request from a page whose host name was pointed at this machine (DNS rebinding)."""
    status, text = run_named_query(port, path, host=host)
    assert (status, "1/python" in text) == (403, False)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://evil.example/app/api/runs HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /app/api/runs HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_a_second_host_does_not_help(port: int, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(request_)
        assert b" 403 " in client.recv(4096).splitlines()[0]


def test_a_refused_host_is_told_how_it_is_allowed(port: int) -> None:
    _, text = run_named_query(port, "/app/index", host="lab-2.example:8040")
    assert "job dashboard --allow-host 'lab-2.example'" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "0"])
def test_served_on_every_address_it_warns_and_is_answered_under_any_address(
    place: Path, everywhere: str
) -> None:
    """A name can be pointed elsewhere, an address cannot."""
    with serving(place, "--host", everywhere, "--allow-host", "lab.example") as (port, said):
        warnings = [line for line in said if "warning" in line]
        assert len(warnings) == 1
        assert f"no login: anyone who reaches {everywhere} port {port} can read all runs" in warnings[0]
        for host in ("192.0.2.1:8040", "[2001:db8::1]:8040", "localhost", "lab.example"):
            assert run_named_query(port, "/app/api/runs", host=host)[0] == 200
        assert run_named_query(port, "/app/api/runs", host="evil.example")[0] == 403


def test_on_this_machine_alone_it_does_not_warn(place: Path) -> None:
    with serving(place, "--host", "127.0.0.2") as (port, said):
        assert "warning" not in "".join(said)
        with socket.create_connection(("127.0.0.2", port), timeout=60) as client:
            client.sendall(b"GET /app/api/runs HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n")
            assert b" 200 " in client.recv(4096).splitlines()[0]


def test_a_chart_has_no_more_points_than_asked_for_and_the_newest(place: Path) -> None:
    with serving(place, "--points", 10) as (port, _):
        text = run_named_query(port, "/app/api/scalar/list?run=1/python&tag=loss/train")[1]
        steps = [step for _, step, _ in json.loads(text)["data"]]
        assert 8 <= len(steps) <= 10
        assert steps[-1] == 49


@pytest.mark.parametrize("drip", [b"", b"x"])
def test_a_request_has_so_much_time_and_no_more(place: Path, drip: bytes) -> None:
    """Also one that sends a byte now and then. The limit is shortened here."""
    program = "from job.mirror import server; server.LIMIT = 1.0; server.main()"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    logs = str(place / "results" / "visualdl")
    settings = {"log_dir": logs, "points": 0, "hosts": ["localhost"], "newest": 0, "named": []}
    settings |= {"host": "127.0.0.1", "port": port}
    command = [sys.executable, "-c", program, json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
        try:
            with connected(port) as client:
                client.settimeout(0.2)
                client.sendall(HALF_SENT["a header"])
                deadline = time.monotonic() + 30
                while not closed(client, drip):
                    assert time.monotonic() < deadline, "the connection is held for ever"
            assert run_named_query(port, "/app/api/runs")[0] == 200
        finally:
            server.kill()


def connected(port: int) -> socket.socket:
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def closed(client: socket.socket, drip: bytes) -> bool:
    try:
        client.sendall(drip)
        return client.recv(4096) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
