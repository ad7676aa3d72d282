"""
Keeps the balancers in line with the traffic flags: after a hold, and after a balancer restarted and forgot (I26).

What a worker is changing right now is left alone; before anything else is touched it is reserved, so that no worker
begins with it meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from rollwave.engine.trouble import Trouble, Troubles
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError
from rollwave.ports.telemetry import UNHEARD, Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.engine.offload import Offload
    from rollwave.ports.balancer import Balancer
    from rollwave.ports.clock import Clock
    from rollwave.ports.store import Store, Wish, Wishes
    from rollwave.ports.telemetry import Telemetry

log = structlog.get_logger()

EVERY_S: Final = 2.0
"""How often balancers are compared with the flags without a nudge, in seconds: bounds I26."""

CHANGE_LIMIT_S: Final = 5.0
"""How long putting one member into traffic may take before it is given up until the next round, in seconds."""

RESERVE_S: Final = CHANGE_LIMIT_S + 1.0
"""How long workers keep off a member that is being put into traffic, in seconds: longer than the change may take."""

LOOKS: Final = 10
"""How often a wish is read again after a change while a worker is changing it too."""

LOOK_EVERY_S: Final = 0.1
"""Time between two of these looks, in seconds: together they take less than one round."""


class TrafficKeeper:
    """
    Compares balancers with flags, and puts them right.

    Args:
        store: Where the flags are.
        balancers: By name.
        clock: Time.
        offload: Runs the store's blocking calls.
        telemetry: Hears of what was put right, and of what fails.
    """

    def __init__(
        self,
        store: Store,
        *,
        balancers: Mapping[str, Balancer],
        clock: Clock,
        offload: Offload,
        telemetry: Telemetry = UNHEARD,
    ) -> None:
        self._telemetry = telemetry
        self._troubles = Troubles("comparison_failed", part=Part.TRAFFIC_KEEPER, telemetry=telemetry)
        self._store = store
        self._balancers = balancers
        self._clock = clock
        self._offload = offload
        self._nudged = asyncio.Event()
        self._known: Wishes | None = None

    def nudge(self) -> None:
        """Compare at once. Call from the event loop's own thread."""
        self._nudged.set()

    async def run(self) -> None:
        """Run until cancelled. What fails (a store that is down, say) is tried again in the next round."""
        trouble = Trouble("comparison_failed", part=Part.TRAFFIC_KEEPER, telemetry=self._telemetry)
        while True:
            self._nudged.clear()
            with trouble.survived():
                await self.compare()
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    async def compare(self) -> int:
        """Compare every pool once; return how many members were put right."""
        pools: dict[tuple[str, str], list[Wish]] = defaultdict(list)
        self._known = await self._offload.read(self._store.wishes, cached=self._known)
        for wishes in self._known.of_groups.values():
            if wishes:
                pools[wishes[0].balancer, wishes[0].member.pool] += wishes
        counts = await asyncio.gather(*(self._compare_pool(wishes) for wishes in pools.values()))
        return sum(counts)

    async def _compare_pool(self, wishes: Sequence[Wish]) -> int:
        """Compare one pool; what it raises (a balancer that this process was not told of, say) costs others nothing."""
        with self._troubles.survived(balancer=wishes[0].balancer, pool=wishes[0].member.pool):
            return await self._compare_members(wishes)
        return 0

    async def _compare_members(self, wishes: Sequence[Wish]) -> int:
        balancer = self._balancers[wishes[0].balancer]
        pool = wishes[0].member.pool
        try:
            actual = await balancer.read([wish.member for wish in wishes])
        except (BalancerUnknownError, BalancerPoolError) as error:
            log.warning("balancer_unreadable", pool=pool, code=error.code, reason=error.message)
            self._telemetry.failed(Part.BALANCER)
            return 0
        wrong = [wish for wish in wishes if not actual[wish.member.name].is_as_wanted(in_traffic=wish.in_traffic)]
        done = await asyncio.gather(*(self._put_right(balancer, wish) for wish in wrong))
        return sum(done)

    async def _put_right(self, balancer: Balancer, wish: Wish) -> bool:
        now = self._clock.now()
        until = now + timedelta(seconds=RESERVE_S)
        if not await self._offload(self._store.reserve_traffic, wish, now=now, until=until):
            return False
        if self._clock.now() - now > timedelta(seconds=RESERVE_S - CHANGE_LIMIT_S):
            # We slept, and what was reserved may be over before the change is: the next round looks again.
            return False
        is_done = await self._change(balancer, wish)
        self._telemetry.put_right(in_traffic=wish.in_traffic, done=is_done)
        await self._look_again(wish)
        return is_done

    async def _change(self, balancer: Balancer, wish: Wish) -> bool:
        log.info("traffic_put_right", instance=wish.member.name, in_traffic=wish.in_traffic)
        try:
            if wish.in_traffic:
                async with asyncio.timeout(CHANGE_LIMIT_S):
                    await balancer.mark_up(wish.member)
            else:
                # Nobody waits to stop the process behind it, so what is in flight may end in its own time.
                await balancer.mark_down(wish.member, drain_timeout_s=0)
        except (TimeoutError, BalancerUnknownError, BalancerPoolError) as error:
            log.warning("traffic_not_put_right", instance=wish.member.name, reason=str(error))
            return False
        return True

    async def _look_again(self, done: Wish) -> None:
        """
        Compare again at once where a change came too late: meanwhile a worker or an operator wanted the opposite.

        A mark-down of ours may land behind the mark-up of a worker, which does not look a second time. The change is
        judged even where it failed: it may have been made, and only its answer was lost.
        """
        for _ in range(LOOKS):
            wish = await self._offload.read(self._store.wish, done.instance_id)
            if wish is not None:
                if wish.in_traffic is not done.in_traffic:
                    self.nudge()
                return
            await self._clock.sleep(LOOK_EVERY_S)
