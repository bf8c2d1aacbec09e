"""Supervises VisualDL's server: restarts it if it dies, and has its logs checked."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from job.errors import MirrorError
from job.mirror.files import LogLine, Shown, drawn_runs

POLL = 1.0
"""seconds between checks of the server and the shown runs"""
STARTING = 0.1
"""seconds between questions whether a new server is up"""
LONGEST_PAUSE = 30.0
"""longest pause in seconds before the restart of a server that dies at once"""
FAREWELL = 5.0
"""seconds for a server to end before it is killed"""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass
class Dashboard:
    """A server over `log_dir`, supervised until `stop` is set."""

    log_dir: Path
    host: str
    port: int
    shown: Shown
    allowed_hosts: Sequence[str]
    """names of this machine in requests, besides `host`, its address and LOCAL_HOSTS"""
    points: int | None
    """the most points of a curve; 0 for all, None for as many as the page can draw"""
    repair_logs: Callable[[], None]
    """called when a server first answers"""
    stop: threading.Event
    log_line: LogLine

    def run(self) -> None:
        """Serve until `stop` is set. Raises MirrorError if the address is not available."""
        address, self.port = free_address(self.host, self.port)
        self.allowed_hosts = [*LOCAL_HOSTS, self.host, address, *self.allowed_hosts]
        if not ipaddress.ip_address(address).is_loopback:
            self.log_line(
                f"warning: no login: anyone who reaches {self.host} port {self.port} can read all runs"
            )
        self.log_line(f"showing {self.shown}; --runs, --run and --all show others")
        pause = 0.0
        while not self.stop.wait(pause):
            started = time.monotonic()
            server = self._start()
            try:
                self._watch(server)
            finally:
                end(server)
            if self.stop.is_set():
                return
            short = time.monotonic() - started < LONGEST_PAUSE
            pause = min(LONGEST_PAUSE, 2 * pause or 1.0) if short else 0.0
            self.log_line(
                f"VisualDL ended with status {server.returncode}; starting it again"
                + (f" in {pause:.0f} s" if pause else "")
            )

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a server. It ends when we do, even if we are killed: its standard input closes."""
        settings = {
            "log_dir": str(self.log_dir),
            "host": self.host,
            "port": self.port,
            "hosts": [name.lower().strip("[]") for name in self.allowed_hosts],
            "points": self.points,
            **asdict(self.shown),
        }
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "job.mirror.server", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # Flask's startup message
        )

    def _watch(self, server: subprocess.Popen[bytes]) -> None:
        """Wait until the server ends or `stop` is set; have the logs checked once it answers."""
        runs: list[int] = []
        alive = False
        while server.poll() is None and not self.stop.wait(POLL if alive else STARTING):
            if alive:
                runs = self._say_new_runs(runs)
            elif alive := accepts_connections(self.host, self.port):
                self.log_line(f"the dashboard is at {url(self.host, self.port)}")
                self.repair_logs()
                runs = self._shown_runs()

    def _shown_runs(self) -> list[int]:
        return self.shown.of(drawn_runs(self.log_dir))

    def _say_new_runs(self, before: list[int]) -> list[int]:
        now = self._shown_runs()
        new, old = (", ".join(map(str, sorted(a))) for a in ({*now} - {*before}, {*before} - {*now}))
        if new:
            self.log_line(f"now shown: run {new}" + (f"; no longer: run {old}" if old else ""))
        return now


def end(server: subprocess.Popen[bytes]) -> None:
    """Terminate a server; kill it if it does not end."""
    server.terminate()
    try:
        server.wait(FAREWELL)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    assert server.stdin is not None
    server.stdin.close()


def free_address(host: str, port: int) -> tuple[str, int]:
    """The host's address and the port, a free one for 0. Raises MirrorError if they are not available."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            address, port, *_ = probe.getsockname()
            return str(address), int(port)
    except (OSError, UnicodeError) as error:  # UnicodeError: no valid host name
        why = getattr(error, "strerror", None) or error
        raise MirrorError(
            f"the dashboard cannot have {host!r} port {port}: {why}; choose another with --host and --port"
        ) from None


def reachable(host: str) -> str:
    """A host name for a URL; for the address of all interfaces, the loopback address."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{name}]" if ":" in name else name


def url(host: str, port: int) -> str:
    """The address of the page."""
    return f"http://{reachable(host)}:{port}/app/index"


def accepts_connections(host: str, port: int) -> bool:
    """Whether the server is up."""
    connection = http.client.HTTPConnection(reachable(host).strip("[]"), port, timeout=POLL)
    try:
        connection.request("GET", "/alive")
        return connection.getresponse().status == http.client.NO_CONTENT
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
