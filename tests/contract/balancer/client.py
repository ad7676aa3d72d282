"""A client of the balancer that does what RFC 9110 lets a client do, and counts how often it had to."""

from __future__ import annotations

import asyncio

TRIES = 5


class Client:
    """
    Sends GET requests, over one kept connection or over one connection each.

    A connection that closes before the first byte of an answer makes it send the (idempotent) request again on a new
    connection: RFC 9110, 9.2.2, and RFC 9112, 9.3.1. Everything else that goes wrong is raised.

    Attributes:
        resent: How often that happened.
    """

    def __init__(self, port: int, *, keep_alive: bool) -> None:
        self._port = port
        self._keep_alive = keep_alive
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.resent = 0

    async def get(self, path: str = "/") -> int:
        """Return the status."""
        for _ in range(TRIES):
            status = await self._try(path)
            if status is not None:
                return status
            self.resent += 1
        raise AssertionError(f"{TRIES} connections in a row were closed without an answer")

    def close(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None

    async def _try(self, path: str) -> int | None:
        try:
            if self._connection is not None and self._connection[0].at_eof():
                self.close()  # Closed while idle, and noticed in time: nothing was sent, nothing is lost.
            if self._connection is None:
                self._connection = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._connection
            close = "" if self._keep_alive else "Connection: close\r\n"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: app\r\n{close}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if getattr(error, "partial", b""):
                raise  # Half an answer is no clean end: nobody may send such a request again.
            return None
        lines = head.lower().split(b"\r\n")
        length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
        await reader.readexactly(length)
        if not self._keep_alive or b"connection: close" in lines:
            self.close()
        return int(lines[0].split()[1])
