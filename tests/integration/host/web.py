"""A package server that can be told to misbehave."""

from __future__ import annotations

import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class PackageServer(ThreadingHTTPServer):
    """
    Serves one body.

    Attributes:
        body: What it serves.
        cuts: For each answer in turn, after how many bytes the connection breaks.
        ranges: The Range header of every request that came, empty where there was none.
        knows_ranges: Whether it resumes.
    """

    daemon_threads = True

    def __init__(self, body: bytes, *, cuts: tuple[int, ...] = (), knows_ranges: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = body
        self.cuts = list(cuts)
        self.knows_ranges = knows_ranges
        self.ranges: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/app.tar.zst"

    @contextmanager
    def serving(self) -> Iterator[PackageServer]:
        thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: PackageServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.ranges.append(wanted)
        begin = int(re.findall(r"\d+", wanted)[0]) if wanted and self.server.knows_ranges else 0
        body = self.server.body[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(self.server.body) - 1}/{len(self.server.body)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *_args: object) -> None:
        pass
