"""
Client load: ``python -m demo.load URL REPORT [CLIENTS]``, until SIGTERM; then it writes what it saw as JSON to REPORT.

Half of the clients open a connection for every request, half keep theirs. Nothing is ever sent twice: a request that
gets no complete 200 answer is a failed request.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

CLIENTS = 16
PAUSE_S = 0.02
"""Between two requests of one client: some 300 requests a second in all, bounded on purpose."""
ANSWER_S = 10.0


@dataclass
class Report:
    """What the clients saw."""

    sent: int = 0
    failed: int = 0
    causes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    versions: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    slowest_s: float = 0.0

    def fail(self, request: str, *, began_at: float, error: Exception) -> None:
        """Count a failed request, which carried the header ``X-Request-Id: request``; *began_at* in Unix seconds."""
        del request, began_at
        self.failed += 1
        self.causes[f"{type(error).__name__}: {error}"] += 1


class Client:
    """One client, with or without a kept connection."""

    def __init__(self, host: str, port: int, report: Report, *, keeps: bool) -> None:
        self._host = host
        self._port = port
        self._report = report
        self._keeps = keeps
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, stopped: asyncio.Event) -> None:
        """Send requests until *stopped*."""
        while not stopped.is_set():
            self._report.sent += 1
            request = str(self._report.sent)
            began, began_at = time.monotonic(), time.time()
            try:
                async with asyncio.timeout(ANSWER_S):
                    version = await self._request(request)
                    self._report.versions[version] += 1
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self._report.fail(request, began_at=began_at, error=error)
                self._close()
            self._report.slowest_s = max(self._report.slowest_s, time.monotonic() - began)
            await asyncio.sleep(PAUSE_S)
        self._close()

    async def _request(self, request: str) -> str:
        """Send one request; return the version that answered it well."""
        if self._connection is None:
            self._connection = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._connection
        connection = "keep-alive" if self._keeps else "close"
        writer.write(
            f"GET / HTTP/1.1\r\nHost: {self._host}\r\nX-Request-Id: {request}\r\n"
            f"Connection: {connection}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]) if "content-length:" in head else 0
        body = await reader.readexactly(length)
        if not self._keeps or "connection: close" in head:
            self._close()
        status = head.split(" ", 2)[1]
        if status != "200":
            raise ValueError(f"status {status}")
        return str(json.loads(body)["version"])

    def _close(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None


async def main(url: str, report: Report, *, count: int = CLIENTS) -> None:
    """Run *count* clients until SIGTERM; *report* hears what they see."""
    parts = urlsplit(url)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    clients = [
        Client(str(parts.hostname), int(parts.port or 80), report, keeps=number % 2 == 0) for number in range(count)
    ]
    await asyncio.gather(*(client.run(stopped) for client in clients))


if __name__ == "__main__":
    seen = Report()
    asyncio.run(main(sys.argv[1], seen, count=int(sys.argv[3]) if sys.argv[3:] else CLIENTS))
    Path(sys.argv[2]).write_text(json.dumps(vars(seen)), encoding="utf-8")
