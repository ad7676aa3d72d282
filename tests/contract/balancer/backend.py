"""A member's app: a small HTTP server that counts what reaches it and holds a request for as long as a test wants."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine
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
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._start(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()

    def release(self) -> None:
        self._released.set()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        # Not asyncio's own server: what that is about to accept when it is closed, nobody owns.
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            self._start(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        with connection:
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    status = await self._answer(head.split(b" ", 2)[1].decode())
                    writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # The peer has closed the connection, as it may.
            finally:
                writer.transport.abort()
                with suppress(ConnectionError):
                    await writer.wait_closed()

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
