"""The app that the fleet runs: answers with the version that it was started as."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
VERSION = (HERE / "VERSION").read_text()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        is_healthy = VERSION != "broken" and not (SHARED / "hold").exists()
        body = json.dumps({"version": VERSION}).encode()
        self.send_response(200 if is_healthy or self.path == "/version" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # The world keeps the port reserved with a bound socket that does not listen.
    allow_reuse_port = True


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
