"""VisualDL's server, with a reader of our own (`job.mirror.reader`).

It refuses requests that name no allowed host, that would change something, or that no shown tab makes.

`job.mirror.dashboard` starts it: `python -m job.mirror.server SETTINGS`, with the settings as JSON. It ends
with its supervisor, when its standard input closes.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Collection
from functools import partial
from typing import Any

from job.mirror import reader  # first: it imports VisualDL without the user's home
from job.mirror.files import Shown

from flask import Response, request  # isort: skip
from visualdl.server import api, app, lib  # isort: skip
from visualdl.server.args import ParseArgs  # isort: skip
from visualdl.server.log import init_logger  # isort: skip
from werkzeug.serving import WSGIRequestHandler  # isort: skip

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


def one_at_a_time(application: Any) -> Any:
    """A WSGI application that answers one request at a time, as VisualDL's data requires."""
    lock = threading.Lock()

    def answer(environ: Any, start_response: Any) -> Any:
        with lock:
            return application(environ, start_response)

    return answer


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


def end_with_supervisor() -> None:
    """Wait until standard input closes, then end the process at once."""
    while os.read(0, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Serve the logs of a directory.

    The settings are `log_dir`, `host` and `port`, the `hosts` that a request may name, the `points` of a
    curve (null for as many as the page can draw), and the shown runs: the `newest` (0 for all), or those
    `named`.
    """
    settings = json.loads(sys.argv[1])
    threading.Thread(target=end_with_supervisor, daemon=True).start()
    os.chdir(settings["log_dir"])
    logs = reader.Logs(Shown(settings["newest"], tuple(settings["named"])), settings["points"])
    api.LogReader = lambda _: logs
    # Without the cache, which keeps all that was requested.
    lib.cache_get = lambda _: lambda _key, read, *arguments: read(*arguments)
    lib.get_scalar = lib.get_hparam_metric = reader.get_scalar
    api.error_retry_times = 1  # else a request for a missing run blocks all others for four seconds
    init_logger(verbose=0)
    arguments = ParseArgs(
        logdir=["."],
        host=settings["host"],
        port=settings["port"],
        language="en",
        telemetry=False,
        component_tabs=["scalar", "histogram", "hyper_parameters"],
    )
    application = app.create_app(arguments)
    application.before_request(partial(refusal, settings["hosts"]))
    application.after_request(ask_more_often)
    application.wsgi_app = one_at_a_time(application.wsgi_app)
    # A thread for each connection: a browser opens some in advance, without a request. In VisualDL's one
    # thread such a connection blocks all others until the browser closes it, for a minute for example.
    # Whatever FLASK_DEBUG says, here or in a file .env: the debugger runs code that a browser sends.
    application.run(
        *(arguments.host, arguments.port),
        debug=False,
        load_dotenv=False,
        threaded=True,
        request_handler=Limited,
    )


if __name__ == "__main__":
    main()
