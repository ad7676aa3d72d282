"""
Client load of a chaos run: ``python -m demo.chaos.load URL,URL JOURNAL``, until SIGTERM.

Clients know every HAProxy, and go to the next one where one does not take their connection. HTTP lets them do so with
the request as well, which is a GET, where a connection ends before the answer is complete (RFC 9110, 9.2.2).

JOURNAL gets lines of JSON:

    sent                            once a second: how many requests were sent
    failed, began_at, at, cause     a request that nobody answered well
    moved, edge, at, cause          a request that its client took to the next HAProxy, and why
    version, edge, at               that a version answered through this HAProxy, some times a second
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from demo.load import Client, Report

CLIENTS = 6
VERSION_EVERY_S = 0.1
"""How often it is written down that a version answers."""


class Journal(Report):
    """
    Writes down what happens as it happens.

    Args:
        file: Where.
    """

    def __init__(self, file: IO[str]) -> None:
        super().__init__()
        self._file = file
        self._told: dict[tuple[str, str], float] = {}

    def write(self, **line: object) -> None:
        """Write one line, for others to read at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def fail(self, request: str, *, began_at: float, error: Exception) -> None:
        """Write down a failed request."""
        super().fail(request, began_at=began_at, error=error)
        self.write(failed=request, began_at=began_at, at=time.time(), cause=f"{type(error).__name__}: {error}")

    def move(self, request: str, *, edge: str, error: Exception) -> None:
        """Write down a request that goes elsewhere."""
        self.write(moved=request, edge=edge, at=time.time(), cause=f"{type(error).__name__}: {error}")

    def answer(self, version: str, *, edge: str) -> None:
        """Write down that a version answers, unless it just was."""
        now = time.time()
        if now - self._told.get((version, edge), 0) >= VERSION_EVERY_S:
            self._told[version, edge] = now
            self.write(version=version, edge=edge, at=now)

    async def tell(self) -> None:
        """Say each second how many were sent."""
        while True:
            self.write(sent=self.sent)
            await asyncio.sleep(1)


class Mover(Client):
    """
    One client that knows several HAProxys, and stays with one as long as it takes connections.

    Args:
        urls: Of all of them, the one to begin with first.
        journal: Hears what happens.
        keeps: Whether it keeps its connection.
    """

    def __init__(self, urls: list[str], journal: Journal, *, keeps: bool) -> None:
        self._urls = urls
        self._journal = journal
        super().__init__(*_place(urls[0]), journal, keeps=keeps)

    async def _request(self, request: str) -> str:
        for _ in self._urls[1:]:
            try:
                return await self._ask(request)
            except (OSError, EOFError) as error:
                self._journal.move(request, edge=self._host, error=error)
                self._close()
                self._urls = [*self._urls[1:], self._urls[0]]
                self._host, self._port = _place(self._urls[0])
        return await self._ask(request)

    async def _ask(self, request: str) -> str:
        version = await super()._request(request)
        self._journal.answer(version, edge=self._host)
        return version


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


async def run(urls: list[str], journal: Journal) -> None:
    """Run the clients until SIGTERM; half of them begin with the first HAProxy, half with the last."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    telling = asyncio.create_task(journal.tell())
    orders = [urls, urls[::-1]]
    clients = [Mover(orders[number // 2 % 2], journal, keeps=number % 2 == 0) for number in range(CLIENTS)]
    await asyncio.gather(*(client.run(stopped) for client in clients))
    telling.cancel()
    with suppress(asyncio.CancelledError):
        await telling
    journal.write(sent=journal.sent)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", encoding="utf-8") as opened:
        asyncio.run(run(sys.argv[1].split(","), Journal(opened)))
