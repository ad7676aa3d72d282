"""The pump and the clockwork: sends slices, wakes what is due, starts what follows. Any number may run side by side."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from rollwave.domain.commands import FleetChanged, TimeCame
from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from rollwave.engine.offload import Offload
    from rollwave.engine.releases import Releases
    from rollwave.ports.clock import Clock
    from rollwave.ports.queue import Queue
    from rollwave.ports.store import Loaded

log = structlog.get_logger()

POLL_S: Final = 1.0
"""How often the store is looked at without a nudge: bounds how late a lost message or a lost lease is noticed."""

RESEND_AFTER_S: Final = 5.0
"""After this long a slice that was sent and that nobody claimed is sent again, in seconds."""


class Dispatcher:
    """
    Turns what is committed into messages and decisions.

    Args:
        releases: The use cases.
        queue: Where slices are sent.
        clock: Time.
        offload: Runs the store's blocking calls.
    """

    def __init__(self, releases: Releases, *, queue: Queue, clock: Clock, offload: Offload) -> None:
        self._releases = releases
        self._queue = queue
        self._clock = clock
        self._offload = offload
        self._nudged = asyncio.Event()
        self._moved: set[str] = set()

    def nudge(self, loaded: Loaded | None = None) -> None:
        """Look at once instead of at the next poll. Call from the event loop's own thread."""
        if loaded is not None and loaded.state.neighbors:
            self._moved.add(loaded.state.deployment.group)
        self._nudged.set()

    async def run(self) -> None:
        """Run until cancelled. A store that fails is tried again at the next poll."""
        while True:
            self._nudged.clear()
            try:
                await self.tick()
            except RollwaveError as error:
                log.warning("dispatch_failed", code=error.code, reason=error.message)
            await self._wait()

    async def tick(self) -> None:
        """Do everything that is due now, once."""
        now = self._clock.now()
        store = self._releases.store
        for deployment_id in await self._offload(store.due, now):
            await self._offload(self._releases.act, deployment_id, TimeCame(), now=now)
        await self._offload(self._releases.follow_rollbacks, now=now)
        await self._tell_neighbors()
        stale_before = now - timedelta(seconds=RESEND_AFTER_S)
        for key in await self._offload(store.undispatched, now=now, stale_before=stale_before):
            await self._queue.send(key)

    async def _tell_neighbors(self) -> None:
        """Groups that share servers with one that moved may have room now."""
        moved, self._moved = self._moved, set()
        for group in sorted(moved):
            for deployment_id in await self._offload(self._releases.store.neighbors_in_motion, group):
                event = FleetChanged()
                after = await self._offload(self._releases.act, deployment_id, event, now=self._clock.now())
                self._moved.discard(after.state.deployment.group)

    async def _wait(self) -> None:
        next_due = await self._offload(self._releases.store.next_due)
        wait_s = POLL_S
        if next_due is not None:
            wait_s = min(POLL_S, max(0.0, (next_due - self._clock.now()).total_seconds()))
        try:
            async with asyncio.timeout(wait_s):
                await self._nudged.wait()
        except TimeoutError:
            return
