"""
The application that the demo releases: a small HTTP service, standard library only.

It answers ``/`` with its version, ``/healthz`` with whether it works, ``/ready`` with whether it wants traffic (it does
not while its drain file exists), and on SIGTERM it finishes what it has begun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
from http import HTTPStatus
from pathlib import Path

HERE = Path(__file__).resolve().parent
RELEASE = json.loads((HERE / "release.json").read_text(encoding="utf-8"))
"""What this release is: its version, and the sites in which it does not come up (a bug to be found by the rollout)."""

WORK_S = (0.005, 0.040)
"""How long a request takes: from, to, in seconds."""


class Service:
    """One process."""

    def __init__(self, *, site: str, drain_file: Path) -> None:
        self._site = site
        self._drain_file = drain_file
        self._stopping = False
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def is_healthy(self) -> bool:
        """Whether it can serve at all."""
        return self._site not in RELEASE["broken_sites"]

    async def answer(self, path: str) -> tuple[HTTPStatus, dict[str, object]]:
        """Return status and body of one request."""
        body: dict[str, object] = {"version": RELEASE["version"], "site": self._site}
        if path == "/healthz":
            return (HTTPStatus.OK if self.is_healthy() else HTTPStatus.SERVICE_UNAVAILABLE), body
        if path == "/ready":
            wants = self.is_healthy() and not self._drain_file.exists() and not self._stopping
            return (HTTPStatus.OK if wants else HTTPStatus.SERVICE_UNAVAILABLE), body
        await asyncio.sleep(random.uniform(*WORK_S))
        return HTTPStatus.OK, body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side closes it."""
        self._writers.add(writer)
        try:
            while not self._stopping:
                head = await reader.readuntil(b"\r\n\r\n")
                self._busy += 1
                self._idle.clear()
                try:
                    await self._reply(head, writer)
                finally:
                    self._busy -= 1
                    if not self._busy:
                        self._idle.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client closed: nothing is owed to it
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _reply(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split(b" ", 2)[1].decode()
        status, body = await self.answer(path)
        payload = json.dumps(body).encode()
        connection = "close" if self._stopping else "keep-alive"
        writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(payload)}\r\nConnection: {connection}\r\n\r\n".encode()
            + payload
        )
        await writer.drain()

    async def stop(self) -> None:
        """Finish what is in flight, then close what is idle."""
        self._stopping = True
        await self._idle.wait()
        for writer in tuple(self._writers):
            writer.close()


async def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--drain-file", type=Path, required=True)
    options = parser.parse_args()
    service = Service(site=options.site, drain_file=options.drain_file)
    # One line a start: what really ran here, for whoever doubts what a release system says.
    with (options.drain_file.parent / "starts.log").open("a", encoding="utf-8") as log:
        log.write(f"{RELEASE['version']}\n")
    server = await asyncio.start_server(service.serve, options.host, options.port)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    server.close()
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main())
