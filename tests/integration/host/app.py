"""The tests' own app: answers with the version that lies beside it. It is a file of every package the tests build."""

import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def answer(path):
    if path == "/version":
        version = (HERE / "VERSION").read_text().strip()
        return "200 OK", f'{{"version": "{version}"}}'
    if (HERE / "SICK").exists():
        return "503 Service Unavailable", "no database"
    return "200 OK", "well"


def main():
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", int(sys.argv[1])))
    server.listen(16)
    while True:
        connection, _ = server.accept()
        request = connection.recv(4096).split()
        status, body = answer(request[1].decode() if len(request) > 1 else "/")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall((head + body).encode())
        connection.close()


main()
