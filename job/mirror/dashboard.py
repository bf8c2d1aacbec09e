"""Keeps VisualDL's server running over the logs: started anew when it died or when logs were redrawn."""

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
from job.mirror.logs import Say, identity
from job.mirror.mend import log_files

LOOK = 1.0
"""seconds between looks at the server and the logs"""
SETTLED = 3.0
"""seconds without another redrawn log after which the server is started anew"""
LONGEST_PAUSE = 30.0
"""seconds between attempts to start a server that dies at once"""
FAREWELL = 5.0
"""seconds that a server has to end"""
OPTIONS = (
    *("--disable-telemetry", "--language", "en", "--cache-timeout", "1"),
    *("--component_tabs", "scalar", "histogram", "hyper_parameters"),
)

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

Identities = dict[Path, tuple[int, int]]


class Dashboard:
    """A server over `log_dir`, supervised until `stop` is set.

    `mend` brings the logs in order before each start, `points` says how many points a chart may have.
    Requests must name this machine, `host` or its address, or one of `allowed_hosts`.
    """

    def __init__(
        self,
        log_dir: Path,
        host: str,
        port: int,
        *,
        allowed_hosts: Sequence[str],
        points: Callable[[], int],
        mend: Callable[[], None],
        stop: threading.Event,
        say: Say,
    ) -> None:
        self.log_dir = log_dir
        self.host = host
        self.port = port
        self.allowed_hosts = {name.lower().strip("[]") for name in (*LOCAL_HOSTS, host, *allowed_hosts)}
        self.points = points
        self.mend = mend
        self.stop = stop
        self.say = say

    def run(self) -> None:
        """Serve until told to stop. Raises MirrorError where the address cannot be had."""
        address, self.port = free_address(self.host, self.port)
        self.allowed_hosts.add(address)
        if not ipaddress.ip_address(address).is_loopback:
            self.say(
                f"warning: there is no login: whoever reaches {self.host} port {self.port} can read every run"
            )
        pause = 0.0
        while not self.stop.wait(pause):
            self.mend()
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
            self.say(f"{reason}; starting VisualDL again" + (f" in {pause:.0f} s" if pause else ""))

    def _start(self) -> subprocess.Popen[bytes]:
        """A server that ends when we do, however we do: its standard input is ours to close."""
        points = self.points()
        command = [sys.executable, "-m", "job.mirror.server", str(self.log_dir), str(points)]
        return subprocess.Popen(  # noqa: S603
            [
                *(*command, ",".join(self.allowed_hosts), *OPTIONS),
                *("--host", self.host, "--port", str(self.port)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # Flask's greeting
        )

    def _watch(self, server: subprocess.Popen[bytes], seen: Identities) -> str:
        """Wait until the server must be started anew, or `stop` is set; says why."""
        changed_at: float | None = None
        alive = False
        while not self.stop.wait(LOOK):
            if server.poll() is not None:
                return f"VisualDL ended with status {server.returncode}"
            if not alive and (alive := answers(self.host, self.port)):
                self.say(f"the dashboard is at {url(self.host, self.port)}")
            now = identities(self.log_dir)
            if any(now.get(path) != was for path, was in seen.items()):
                changed_at = time.monotonic()
                seen = now
            else:
                seen = now  # new logs are found by VisualDL itself
            if changed_at and time.monotonic() - changed_at > SETTLED:
                return "logs were redrawn or removed"
        return "told to stop"


def identities(log_dir: Path) -> Identities:
    """Which file each log is just now."""
    found = {}
    for path in log_files(log_dir):
        with suppress(OSError):  # removed since it was listed
            found[path] = identity(path)
    return found


def end(server: subprocess.Popen[bytes]) -> None:
    """End a server, by force where it does not heed."""
    server.terminate()
    try:
        server.wait(FAREWELL)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    assert server.stdin is not None
    server.stdin.close()


def free_address(host: str, port: int) -> tuple[str, int]:
    """The address of a host, and the port, or a free one for 0. Raises MirrorError if it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            address, port, *_ = probe.getsockname()
            return str(address), int(port)
    except (OSError, UnicodeError) as error:  # the latter for what can be no host's name
        why = getattr(error, "strerror", None) or error
        raise MirrorError(
            f"the dashboard cannot have {host!r} port {port}: {why}; choose another with --host and --port"
        ) from None


def reachable(host: str) -> str:
    """A host name for a URL: of the address for all interfaces, this machine's own."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{name}]" if ":" in name else name


def url(host: str, port: int) -> str:
    """The address of the page."""
    return f"http://{reachable(host)}:{port}/app/index"


def answers(host: str, port: int) -> bool:
    """Whether the server is up: loading a hundred runs takes it the better part of a minute."""
    connection = http.client.HTTPConnection(reachable(host).strip("[]"), port, timeout=LOOK)
    try:
        connection.request("GET", "/alive")
        return connection.getresponse().status == http.client.NO_CONTENT
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
