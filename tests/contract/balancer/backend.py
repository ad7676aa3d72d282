"""A member's app: a small HTTP server that counts what reaches it and holds a request for as long as a test wants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class Backend:
    """
    Answers 200 to every path; ``/hold`` only after `release`; ``/healthz`` with 503 while the drain file exists.

    Attributes:
        seen: Requests that arrived, health checks aside.
        in_flight: Requests that are not answered yet.
        holds_all: Hold every request.
    """

    def __init__(self, drain_file: Path) -> None:
        self.drain_file = drain_file
        self.seen = 0
        self.in_flight = 0
        self.holds_all = False
        self._released = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def release(self) -> None:
        self._released.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain callback and our own task: the server's own would complain in the log when it is cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status = await self._answer(head.split(b" ", 2)[1].decode())
                writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The peer has closed the connection, as it may.
        finally:
            writer.close()

    async def _answer(self, path: str) -> int:
        if path == "/healthz":
            return 503 if self.drain_file.exists() else 200
        self.seen += 1
        self.in_flight += 1
        try:
            if path == "/hold" or self.holds_all:
                await self._released.wait()
        finally:
            self.in_flight -= 1
        return 200
