"""
Several balancers before the same members, as one: two HAProxys of which clients use whichever takes their connection.

Each of them is told everything, and each has a say: a member is out only where it is out, and drained, at all of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from rollwave.ports.balancer import BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from rollwave.ports.balancer import Balancer, Member

T = TypeVar("T")

log = structlog.get_logger()


def together(balancers: Sequence[Balancer]) -> Balancer:
    """Return one balancer that is all of *balancers*; one alone as it is."""
    return balancers[0] if len(balancers) == 1 else SeveralBalancers(balancers)


class SeveralBalancers:
    """
    A `Balancer` of several.

    A change is unknown where one of them does not answer, though the others have made it: that one may serve its
    clients all the same, and if it was dead it puts everybody back into traffic when it returns.

    Args:
        balancers: At least two; each knows all members.
    """

    def __init__(self, balancers: Sequence[Balancer]) -> None:
        self._balancers = tuple(balancers)

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Take *member* out everywhere; True once nothing is in flight to it from any."""
        calls = (one.mark_down(member, drain_timeout_s=drain_timeout_s) for one in self._balancers)
        return all(_all_or_error(await _ended(calls)))

    async def mark_up(self, member: Member) -> None:
        """Put *member* into traffic everywhere; returns once all say that it is."""
        _all_or_error(await _ended(one.mark_up(member) for one in self._balancers))

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """
        Return what those do that answer; `Traffic.SPLIT` where only some of them send requests.

        While one is dead the others must still be put right; it is compared as well once it is back.

        Raises:
            BalancerUnknownError: If none answers.
            BalancerPoolError: If one of them does not know the pool or a member.
        """
        ended = await _ended(one.read(members) for one in self._balancers)
        unknown = [answer for answer in ended if isinstance(answer, BalancerUnknownError)]
        if len(unknown) == len(ended):
            raise unknown[0]
        for error in unknown:
            log.warning("balancer_unreadable", code=error.code, reason=error.message)
        answers = _all_or_error([answer for answer in ended if not isinstance(answer, BalancerUnknownError)])
        return {member.name: _united({answer[member.name] for answer in answers}) for member in members}


async def _ended(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Let all of *calls* come to their end, whatever becomes of the others."""
    return await asyncio.gather(*calls, return_exceptions=True)


def _all_or_error(ended: Sequence[T | BaseException]) -> list[T]:
    """Return all answers, or raise what went wrong; what is unknown first: of a refusal alone nobody asks again."""
    wrong = [answer for answer in ended if isinstance(answer, BaseException)]
    if wrong:
        raise next((error for error in wrong if isinstance(error, BalancerUnknownError)), wrong[0])
    return [answer for answer in ended if not isinstance(answer, BaseException)]


def _united(found: set[Traffic]) -> Traffic:
    if Traffic.IN in found:
        return Traffic.IN if found == {Traffic.IN} else Traffic.SPLIT
    return Traffic.DRAINING if Traffic.DRAINING in found else Traffic.OUT
