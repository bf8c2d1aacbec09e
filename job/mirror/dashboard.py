"""Supervises VisualDL's server: restarts it after it died or logs were redrawn."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from job.errors import MirrorError
from job.mirror.logs import LogLine, identity
from job.mirror.repair import log_files

POLL = 1.0
"""seconds between checks of the server and the logs"""
SETTLED = 3.0
"""seconds without another redrawn log before the server is restarted"""
LONGEST_PAUSE = 30.0
"""longest pause in seconds before the restart of a server that dies at once"""
FAREWELL = 5.0
"""seconds for a server to end before it is killed"""
OPTIONS = (
    *("--disable-telemetry", "--language", "en", "--cache-timeout", "1"),
    *("--component_tabs", "scalar", "histogram", "hyper_parameters"),
)

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

Identities = dict[Path, tuple[int, int]]


class Dashboard:
    """A server over `log_dir`, supervised until `stop` is set.

    `repair_logs` is called before each start; `points` returns how many points a chart may have. Requests
    must name this machine, `host` or its address, or one of `allowed_hosts`.
    """

    def __init__(
        self,
        log_dir: Path,
        host: str,
        port: int,
        *,
        allowed_hosts: Sequence[str],
        points: Callable[[], int],
        repair_logs: Callable[[], None],
        stop: threading.Event,
        log_line: LogLine,
    ) -> None:
        self.log_dir = log_dir
        self.host = host
        self.port = port
        self.allowed_hosts = {name.lower().strip("[]") for name in (*LOCAL_HOSTS, host, *allowed_hosts)}
        self.points = points
        self.repair_logs = repair_logs
        self.stop = stop
        self.log_line = log_line

    def run(self) -> None:
        """Serve until `stop` is set. Raises MirrorError if the address is not available."""
        address, self.port = free_address(self.host, self.port)
        self.allowed_hosts.add(address)
        if not ipaddress.ip_address(address).is_loopback:
            self.log_line(
                f"warning: no login: anyone who reaches {self.host} port {self.port} can read all runs"
            )
        pause = 0.0
        while not self.stop.wait(pause):
            self.repair_logs()
            if self.stop.is_set():
                return
            started = time.monotonic()
            seen = identities(self.log_dir)
            server = self._start()
            try:
                reason = self._watch(server, seen)
                died = server.poll() is not None
            finally:
                end(server)
            if self.stop.is_set():
                return
            short = died and time.monotonic() - started < LONGEST_PAUSE
            pause = min(LONGEST_PAUSE, 2 * pause or 1.0) if short else 0.0
            self.log_line(f"{reason}; starting VisualDL again" + (f" in {pause:.0f} s" if pause else ""))

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a server. It ends when we do, even if we are killed: its standard input closes."""
        points = self.points()
        command = [sys.executable, "-m", "job.mirror.server", str(self.log_dir), str(points)]
        return subprocess.Popen(  # noqa: S603
            [
                *(*command, ",".join(self.allowed_hosts), *OPTIONS),
                *("--host", self.host, "--port", str(self.port)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # Flask's startup message
        )

    def _watch(self, server: subprocess.Popen[bytes], seen: Identities) -> str:
        """Wait until the server must be restarted, or `stop` is set; return the reason."""
        changed_at: float | None = None
        alive = False
        while not self.stop.wait(POLL):
            if server.poll() is not None:
                return f"VisualDL ended with status {server.returncode}"
            if not alive and (alive := accepts_connections(self.host, self.port)):
                self.log_line(f"the dashboard is at {url(self.host, self.port)}")
            now = identities(self.log_dir)
            if any(now.get(path) != was for path, was in seen.items()):
                changed_at = time.monotonic()
                seen = now
            else:
                seen = now  # VisualDL finds new logs by itself
            if changed_at and time.monotonic() - changed_at > SETTLED:
                return "logs were redrawn or removed"
        return "told to stop"


def identities(log_dir: Path) -> Identities:
    """The current identity of each log file."""
    found = {}
    for path in log_files(log_dir):
        with suppress(OSError):  # removed since it was listed
            found[path] = identity(path)
    return found


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
    """Whether the server is up; it takes most of a minute to load a hundred runs."""
    connection = http.client.HTTPConnection(reachable(host).strip("[]"), port, timeout=POLL)
    try:
        connection.request("GET", "/alive")
        return connection.getresponse().status == http.client.NO_CONTENT
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
