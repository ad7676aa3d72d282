"""
The drain file: for every balancer that can do nothing but watch a health page.

An app whose health page answers "no" while ``<deploy path>/shared/drain`` exists leaves traffic by that file alone. It
survives the restart of the app, the host and the balancer, and no balancer needs to be told anything.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rollwave.balancers.drain import wait_until
from rollwave.ports.balancer import BalancerUnknownError, Traffic
from rollwave.ports.executor import HostUnknownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from typing import Any

    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock

MAX_COUNTS_AT_ONCE: Final = 50
"""Of how many members one `DrainFileBalancer` counts requests at a time."""


class DrainFileBalancer:
    """
    Puts the drain file on a member's host and takes it away, and gives the balancer time to notice.

    Args:
        set_drain: Creates (True) or removes (False) the member's drain file; idempotent.
        find_drained: Names of those among the members whose drain file is there.
        clock: Waiting and time.
        settle_s: Time after which the balancer is sure to have noticed, in seconds: its check interval times the checks
            it takes to change its mind, plus the check's timeout; without *in_flight*, plus the longest request.
        in_flight: Requests under way to a member, where somebody can count them (the app itself, or
            `CaddyBalancer.in_flight`); None trusts *settle_s* alone.
        poll_s: How often *in_flight* is asked, in seconds.
    """

    def __init__(
        self,
        *,
        set_drain: Callable[[Member, bool], Awaitable[None]],
        find_drained: Callable[[Sequence[Member]], Awaitable[Collection[str]]],
        clock: Clock,
        settle_s: float,
        in_flight: Callable[[Member], Awaitable[int]] | None = None,
        poll_s: float = 0.05,
    ) -> None:
        self._set_drain = set_drain
        self._find_drained = find_drained
        self._clock = clock
        self._settle_s = settle_s
        self._in_flight = in_flight
        self._poll_s = poll_s
        self._counts = asyncio.Semaphore(MAX_COUNTS_AT_ONCE)

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Put the drain file there, let it settle, and wait for the requests in flight where they can be counted."""
        await self._ask(member, self._set_drain(member, True))
        await self._clock.sleep(min(self._settle_s, drain_timeout_s))
        if drain_timeout_s < self._settle_s:
            return False

        async def is_idle() -> bool:
            return await self._requests(member) == 0

        return await wait_until(
            is_idle, clock=self._clock, timeout_s=drain_timeout_s - self._settle_s, poll_s=self._poll_s
        )

    async def mark_up(self, member: Member) -> None:
        """Take the drain file away, read that back, and let it settle."""
        await self._ask(member, self._set_drain(member, False))
        if await self._ask(member, self._find_drained([member])):
            raise BalancerUnknownError(
                f"the drain file of {member.name} is still there after it was removed; look who else creates it",
                member=member.name,
            )
        await self._clock.sleep(self._settle_s)

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Return what the drain files say, which is what the balancer does as soon as it has noticed."""
        if not members:
            return {}
        drained = await self._ask(members[0], self._find_drained(members))

        async def traffic_of(member: Member) -> Traffic:
            if member.name not in drained:
                return Traffic.IN
            async with self._counts:
                return Traffic.DRAINING if await self._requests(member) else Traffic.OUT

        answers = await asyncio.gather(*(traffic_of(member) for member in members))
        return dict(zip((member.name for member in members), answers, strict=True))

    async def _requests(self, member: Member) -> int:
        return 0 if self._in_flight is None else await self._in_flight(member)

    async def _ask(self, member: Member, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except HostUnknownError as error:
            # Of many that are asked together, the error knows which one it was.
            name = error.facts.get("instance", member.name)
            raise BalancerUnknownError(
                f"the host of {name} did not answer about its drain file: {error.message}; "
                f"whether it takes traffic is unknown until the host is reached",
                member=name,
            ) from error
