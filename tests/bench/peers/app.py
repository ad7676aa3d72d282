"""What is released: answers with its version, on an address of its own and on the loopback that a host looks at."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

VERSION = (Path(__file__).parent / "VERSION").read_bytes()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION)

    def log_message(self, *arguments):
        pass


class Server(HTTPServer):
    def server_bind(self):
        # The one of the library asks for the machine's name, which may take a second.
        self.socket.setsockopt(1, 2, 1)  # SOL_SOCKET, SO_REUSEADDR
        self.socket.bind(self.server_address)


port = int(sys.argv[2])
servers = [Server((address, port), Handler) for address in {"127.0.0.1", sys.argv[1]}]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
