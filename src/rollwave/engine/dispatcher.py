"""The pump and the clockwork: sends slices, wakes what is due, starts what follows. Any number may run side by side."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct

from rollwave.domain.commands import FleetChanged, TimeCame
from rollwave.domain.errors import RollwaveError
from rollwave.engine.trouble import Trouble, Troubles
from rollwave.ports.telemetry import UNHEARD, Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rollwave.domain.commands import Observation
    from rollwave.domain.model import PackageRef
    from rollwave.engine.offload import Offload
    from rollwave.engine.releases import Releases
    from rollwave.ports.clock import Clock
    from rollwave.ports.queue import Queue
    from rollwave.ports.store import Loaded
    from rollwave.ports.telemetry import Telemetry

log = structlog.get_logger()

POLL_S: Final = 0.5
"""How often the store is looked at without a nudge: bounds how late a lost message or a lost lease is noticed."""

RESEND_AFTER_S: Final = 5.0
"""After this long a slice that was sent and that nobody claimed is sent again, in seconds."""


LOOK_AGAIN_S: Final = 5.0
"""How often deployments are looked for at which nobody works, in seconds. One that has stood still as long is decided
again: who changed a hold, or took a neighbor's room, may have died before saying so."""


class _Seen(Struct, frozen=True, kw_only=True):
    """What the store has to say: deployments that are due, when the next will be, what is to be followed."""

    due: Sequence[int]
    next_due: datetime | None
    rollbacks: Sequence[tuple[int, str, PackageRef]]


class Dispatcher:
    """
    Turns what is committed into messages and decisions.

    Args:
        releases: The use cases.
        queue: Where slices are sent.
        clock: Time.
        offload: Runs the store's blocking calls.
        telemetry: Hears of what is sent, and of what fails.
    """

    def __init__(
        self, releases: Releases, *, queue: Queue, clock: Clock, offload: Offload, telemetry: Telemetry = UNHEARD
    ) -> None:
        self._telemetry = telemetry
        # One deployment that cannot be decided must not keep the others, whose clock is the same, from going on.
        self._troubles = Troubles("dispatch_failed", part=Part.DISPATCHER, telemetry=telemetry)
        self._releases = releases
        self._queue = queue
        self._clock = clock
        self._offload = offload
        self._nudged = asyncio.Event()
        self._moved: set[str] = set()
        self._waiting: set[int] = set()
        self._looked_at = clock.now()
        self._versions: Mapping[int, int] = {}
        self._decided_again: set[int] = set()

    def nudge(self, loaded: Loaded | None = None) -> None:
        """Look at once instead of at the next poll. Call from the event loop's own thread."""
        if loaded is not None and loaded.state.neighbors:
            self._moved.add(loaded.state.deployment.group)
        self._nudged.set()

    async def run(self) -> None:
        """Run until cancelled. What fails (a store that is down, say) is tried at the next poll."""
        trouble = Trouble("dispatch_failed", part=Part.DISPATCHER, telemetry=self._telemetry)
        while True:
            self._nudged.clear()
            wait_s = POLL_S
            with trouble.survived():
                wait_s = await self.tick()
            await self._wait(wait_s)

    async def tick(self) -> float:
        """
        Do everything that is due now, once; return how long nothing else will be, in seconds.

        What one deployment raises is told and tried again at the next poll; the others go on.
        """
        now = self._clock.now()
        stale_before = now - timedelta(seconds=RESEND_AFTER_S)
        for key in await self._offload(self._releases.store.undispatched, now=now, stale_before=stale_before):
            with self._troubles.survived(deployment=key[0], slice=key[1]):
                await self._queue.send(key)
                self._telemetry.sent()
        seen = await self._offload.read(self._look, now)
        decided = [await self._act(deployment_id, TimeCame(), now) for deployment_id in seen.due]
        await self._follow_rollbacks(seen.rollbacks)
        await self._tell_neighbors()
        await self._look_again(now)
        # What could not be decided stays due: it is no reason not to wait.
        if seen.next_due is None or None in decided:
            return POLL_S
        return min(POLL_S, max(0.0, (seen.next_due - self._clock.now()).total_seconds()))

    async def _act(self, deployment_id: int, event: Observation, now: datetime) -> Loaded | None:
        """Decide; return what the deployment is then, or None where that failed."""
        with self._troubles.survived(deployment=deployment_id):
            return await self._offload(self._releases.act, deployment_id, event, now=now)
        return None

    def _look(self, now: datetime) -> _Seen:
        store = self._releases.store
        return _Seen(due=store.due(now), next_due=store.next_due(), rollbacks=store.unfollowed_rollbacks())

    async def _follow_rollbacks(self, wanted: Sequence[tuple[int, str, PackageRef]]) -> None:
        """Start the rollbacks that were asked for together with an abort."""
        self._waiting.intersection_update(aborted_id for aborted_id, _group, _goal in wanted)
        for aborted_id, group, goal in wanted:
            with self._troubles.survived(deployment=aborted_id, rollback=True):
                await self._follow_rollback(aborted_id, group, goal)

    async def _follow_rollback(self, aborted_id: int, group: str, goal: PackageRef) -> None:
        try:
            await self._offload(self._releases.follow_rollback, aborted_id, group, goal, now=self._clock.now())
        except RollwaveError as error:
            # It stays asked for: an operator may have to lift a hold first.
            if aborted_id not in self._waiting:
                self._waiting.add(aborted_id)
                log.warning("rollback_waits", deployment=aborted_id, code=error.code, reason=error.message)

    async def _tell_neighbors(self) -> None:
        """Groups that share servers with one that moved may have room now."""
        moved, self._moved = self._moved, set()
        for group in sorted(moved):
            for deployment_id in await self._offload.read(self._releases.store.neighbors_in_motion, group):
                after = await self._act(deployment_id, FleetChanged(), self._clock.now())
                if after is not None:
                    self._moved.discard(after.state.deployment.group)

    async def _look_again(self, now: datetime) -> None:
        if now - self._looked_at < timedelta(seconds=LOOK_AGAIN_S):
            return
        self._looked_at = now
        before, self._versions = self._versions, await self._offload.read(self._releases.store.resting)
        still = {one for one, version in self._versions.items() if before.get(one) == version}
        self._decided_again &= still
        for deployment_id in sorted(still - self._decided_again):
            after = await self._act(deployment_id, FleetChanged(), now)
            # Once is enough, but for room that neighbors of neighbors give back: its version does not tell.
            if after is not None and not after.state.neighbors:
                self._decided_again.add(deployment_id)

    async def _wait(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._nudged.wait()
        except TimeoutError:
            return
