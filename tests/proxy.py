"""A TCP proxy in front of the tests' PostgreSQL that can hang in the ways a network does."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from typing import Self

from sqlalchemy import make_url


class Proxy:
    """Forwards connections to a PostgreSQL. `mode` sets what happens to bytes from now on.

    `frozen` reads nothing from either side; `swallow` reads the client's bytes, so that TCP acknowledges
    them, and forwards none. Both keep every connection open, and accept new ones. A connection over which the
    client sends `hangs_at` swallows from there on, and is then one of `hung`.
    """

    mode = "forward"
    hangs_at: re.Pattern[bytes] | None = None

    def __init__(self, url: str) -> None:
        upstream = make_url(url)
        directory = upstream.query.get("host")
        self.upstream = f"{directory}/.s.PGSQL.5432" if directory else (upstream.host, upstream.port or 5432)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.pairs: dict[socket.socket, socket.socket] = {}
        self.clients: set[socket.socket] = set()
        self.hung: set[socket.socket] = set()
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._forward, daemon=True)
        port = self.listener.getsockname()[1]
        self.url = upstream.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.thread.join()
        for each in (self.listener, *self.pairs):
            each.close()

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        family = socket.AF_UNIX if isinstance(self.upstream, str) else socket.AF_INET
        server = socket.socket(family)
        server.connect(self.upstream)
        self.clients.add(client)
        self.pairs |= {client: server, server: client}

    def _forward(self) -> None:
        while not self.closing.is_set():
            if self.mode == "frozen":
                time.sleep(0.02)
                continue
            for source in select.select([self.listener, *self.pairs], [], [], 0.02)[0]:
                if source is self.listener:
                    self._accept()
                elif source in self.pairs:
                    self._pass_on(source)

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        target = self.pairs[source]
        if not data:
            del self.pairs[source], self.pairs[target]
            source.close()
            target.close()
            return
        if source in self.clients and self.hangs_at and self.hangs_at.search(data):
            self.hung.add(source)
        if not (source in self.hung or (self.mode == "swallow" and source in self.clients)):
            target.sendall(data)
