"""The in-process queue: a message is a task of the same event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollwave.ports.store import SliceKey

log = structlog.get_logger()


class EmbeddedQueue:
    """
    Runs slices in the process that sends them.

    Args:
        run: The worker's doorway: claims and runs one slice.
    """

    def __init__(self, run: Callable[[SliceKey], Awaitable[None]]) -> None:
        self._run = run
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running_count(self) -> int:
        """How many slices run here that were sent here."""
        return len(self._running)

    async def send(self, key: SliceKey) -> None:
        """Begin to run a slice; return at once."""
        self._begin(key)

    async def run(self, key: SliceKey) -> None:
        """Run a slice to its end; CancelledError where `close` came before it."""
        await self._begin(key)

    def _begin(self, key: SliceKey) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._run_one(key))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _run_one(self, key: SliceKey) -> None:
        try:
            await self._run(key)
        except Exception:
            # The slice's lease runs out and it is sent again; what broke is for a person to read.
            log.exception("slice_broke", deployment=key[0], slice=key[1])

    async def close(self) -> None:
        """Cancel what runs; the next process goes on from the records."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
