"""VisualDL's server, changed to keep all points or at least the newest, and to tolerate torn logs.

It refuses requests that name no allowed host, that would change something, or that no shown tab makes.

`job.mirror.dashboard` starts it: `python -m job.mirror.server LOG_DIR POINTS HOSTS OPTION...`, the hosts
separated by commas, the options VisualDL's. It ends with its supervisor, when its standard input closes.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Collection
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

from job.mirror import records  # first: it sets HOME before VisualDL reads it

from flask import Flask, Response, request  # isort: skip
from visualdl.server import api  # isort: skip
from visualdl.reader import record_reader  # isort: skip
from visualdl.reader.reader import LogReader  # isort: skip
from visualdl.server import app, data_manager  # isort: skip
from werkzeug.serving import WSGIRequestHandler  # isort: skip

AT_A_TIME = 1 << 20
"""bytes that are read of a log at a time"""
LIMIT = 60.0
"""seconds for a request and its response"""
PAGES = ("base", "index", "favicon", "serve_static", "check_live")
"""VisualDL's endpoints for the page, its scripts, and whether the server is up"""
TABS = (
    *("component_tabs", "components", "runs", "scalar/tags", "scalar/list", "scalar/data"),
    *("histogram/tags", "histogram/list"),
    *("hparams/list", "hparams/indicators", "hparams/importance", "hparams/metric", "hparams/data"),
)
"""paths of VisualDL's API that the shown tabs request"""


class WholeRecords:
    """Reads a log by whole records; VisualDL's reader would consume half a record and lose its place.

    A record that is incomplete or invalid is the end for now, and so is a removed file.
    """

    def __init__(self, filepath: str) -> None:
        self.filepath = filepath
        self.offset = 0
        """in the file, after the buffer"""
        self.buffer = b""
        self.position = 0
        self.current = b""

    def get_next(self) -> None:
        """Go to the next record. Raises EOFError if there is none yet."""
        while (end := records.next_end(self.buffer, self.position)) is None:
            if not self._fill():
                # Read the rest again next time: its writer may cut it in between.
                self.offset -= len(self.buffer) - self.position
                self.buffer, self.position = b"", 0
                raise EOFError
        self.current = self.buffer[self.position + records.LENGTH.size : end]
        self.position = end

    def record(self) -> bytes:
        """The serialised record that `get_next` went to."""
        return self.current

    def _fill(self) -> bool:
        try:
            with Path(self.filepath).open("rb") as file:
                file.seek(self.offset)
                more = file.read(AT_A_TIME)
        except OSError:
            return False
        self.buffer, self.position = self.buffer[self.position :] + more, 0
        self.offset += len(more)
        return bool(more)


class NewestBucket(data_manager._ReservoirBucket):  # type: ignore[misc]
    """A sample of a tag's points, in order: always the newest and both extremes, the others at random.

    VisualDL's own may leave out the newest, so that a live chart does not advance and the hyper-parameters
    show an older loss.
    """

    max_scalar: Any
    min_scalar: Any

    def add_scalar_item(self, item: Any) -> None:
        """Add a point by Vitter's algorithm R, which decides on it when the next one comes."""
        if self.max_scalar is None or item.value > self.max_scalar.value:
            self.max_scalar = item
        if self.min_scalar is None or item.value < self.min_scalar.value:
            self.min_scalar = item
        with self._mutex:
            if 0 < self._max_size <= len(self._items):
                newest = len(self._items) - 1
                victim = min(newest, self._random.randrange(self._num_items_index))
                while any(self._items[victim] is kept for kept in (self.max_scalar, self.min_scalar)):
                    victim = (victim + 1) % len(self._items)
                self._items.pop(victim)
            self._items.append(item)
            self._num_items_index += 1


def list_logs(reader: LogReader) -> None:
    """Fill a log reader's table of directories and their files: short names, the runs in order, logs only.

    VisualDL's own calls a run `./2/paddle`, lists runs in the file system's order, and takes any file with
    MARK in its name for a log, instead of ours if it is later by name.
    """
    found = []
    for root, _, names in os.walk(".", followlinks=True):
        logs = [name for name in names if records.MARK in name and is_log(Path(root, name))]
        if logs:
            ours = [records.FILE_NAME] if records.FILE_NAME in logs else logs
            found.append((os.path.relpath(root), ours))
    reader.walks = dict(sorted(found, key=lambda entry: by_number(entry[0])))


def is_log(path: Path) -> bool:
    """Whether a file begins like a log."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return records.next_end(file.read(4096), 0) is not None
    except OSError:
        return False


def by_number(name: str) -> list[tuple[int, str]]:
    """A sort key that puts run 9 before run 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in Path(name).parts]


class OneAtATime:
    """A WSGI application that answers one request at a time, as VisualDL's data requires."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer a request once no other is being answered."""
        with self.lock:
            return self.application(environ, start_response)


def ask_more_often(response: Any) -> Any:
    """Make the page's script ask for new points every 10 s.

    VisualDL's asks every 15 s and skips a request that is slightly early: points may be half a minute late.
    """
    if request.path.endswith("/useRequest.js") and response.status_code == 200:
        response.direct_passthrough = False
        response.set_data(response.get_data().replace(b"15*1e3", b"10*1e3"))
    return response


class Limited(WSGIRequestHandler):
    """Closes a connection if its request and response take longer than LIMIT."""

    def handle(self) -> None:
        """Handle the one request of a connection."""
        limit = threading.Timer(LIMIT, self.connection.shutdown, [socket.SHUT_RDWR])
        limit.daemon = True
        limit.start()
        try:
            super().handle()
        finally:
            limit.cancel()


def refusal(hosts: Collection[str]) -> Response | None:
    """The response to a request that is refused, before VisualDL handles it; None for any other.

    A page of another origin can make its own host name resolve to this server (DNS rebinding) and would then
    read the history. So the request must name a host of `hosts`; if they include the address of all
    interfaces, any IP address is allowed.
    """
    name = re.sub(r":\d+$", "", request.headers.get("Host", "")).lower().strip("[]")
    if name not in hosts and not (is_address(name) and {"0.0.0.0", "::"} & set(hosts)):  # noqa: S104
        why, status = f"this host is not allowed, except by: job dashboard --allow-host {name!a}", 403
    elif request.method not in ("GET", "HEAD"):
        why, status = "only GET and HEAD are allowed", 405
    elif request.endpoint not in PAGES and request.path not in [f"/app/api/{name}" for name in TABS]:
        why, status = "there is no such page", 404
    else:
        return None
    return Response(f"{why}\n", status, mimetype="text/plain")


def is_address(name: str) -> bool:
    """Whether it is an IP address."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def serve(application: Flask, hosts: Collection[str], **options: Any) -> None:
    """Run the server with a thread for each connection, and answer one request at a time.

    VisualDL's own has one thread for all: a connection that a browser opens in advance, without a request,
    blocks all others until the browser closes it, for a minute for example.
    """
    application.before_request(partial(refusal, hosts))
    application.after_request(ask_more_often)
    application.wsgi_app = OneAtATime(application.wsgi_app)  # type: ignore[method-assign]
    RUN(application, **options | {"threaded": True, "request_handler": Limited})


RUN = Flask.run


def end_with_supervisor() -> None:
    """Wait until standard input closes, then end the process at once."""
    while os.read(0, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Serve the logs of a directory: `points` points per chart (0 for all), to requests that name `hosts`."""
    log_dir, points, hosts, *options = sys.argv[1:]
    threading.Thread(target=end_with_supervisor, daemon=True).start()
    os.chdir(log_dir)  # a relative log directory gives short run names
    record_reader._RecordReader = WholeRecords
    LogReader.get_all_walk = list_logs
    Flask.run = partialmethod(serve, hosts.split(","))  # type: ignore[method-assign, assignment]
    api.error_retry_times = 1  # else a request for a missing run blocks all others for four seconds
    data_manager._ReservoirBucket = NewestBucket
    data_manager.default_data_manager.get_reservoir("scalar")._max_size = int(points)
    logging.getLogger("visualdl.info").setLevel(logging.WARNING)  # it logs an address that is not the page's
    sys.argv = ["visualdl", "--logdir", ".", *options]
    app.main()


if __name__ == "__main__":
    main()
