"""Whether an instance can be released to: what its server says of itself, its clock, and its balancer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain.said import said
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Member, Traffic
from rollwave.ports.executor import (
    ChecksHosts,
    Finding,
    HostQuestion,
    HostUnknownError,
    HostUnreachableError,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollwave.ports.balancer import Balancer
    from rollwave.ports.clock import Clock
    from rollwave.ports.executor import Executor

MAX_SKEW_S: Final = 2.0
"""How far a server's clock may be off, in seconds: every command has a deadline, which the server judges."""


_TRAFFIC: Final = {
    Traffic.IN: said("in"),
    Traffic.OUT: said("out"),
    Traffic.DRAINING: said("draining"),
    Traffic.SPLIT: said("split"),
}


class Candidate(Struct, frozen=True, kw_only=True):
    """
    An instance, and how it is reached.

    Attributes:
        question: For its server.
        executor: Name of the executor.
        balancer: Name of the balancer; empty where it has none.
        pool: The balancer's name of its pool.
    """

    question: HostQuestion
    executor: str
    balancer: str
    pool: str


class HostCheck:
    """
    Looks at instances; changes nothing.

    Args:
        executors: By name.
        balancers: By name.
        clock: The time that servers' clocks are held against.
    """

    def __init__(self, *, executors: Mapping[str, Executor], balancers: Mapping[str, Balancer], clock: Clock) -> None:
        self._executors = executors
        self._balancers = balancers
        self._clock = clock

    async def look(self, candidate: Candidate) -> tuple[Finding, ...]:
        """Return what was found, in the order in which it helps; nobody's silence is an error here."""
        return (*await self._of_server(candidate), await self._of_balancer(candidate))

    async def _of_server(self, candidate: Candidate) -> tuple[Finding, ...]:
        executor = self._executors[candidate.executor]
        if not isinstance(executor, ChecksHosts):
            message = said("executor %(name)s cannot have a server look at itself", name=repr(candidate.executor))
            return (Finding(name="reach", verdict=Verdict.NOTE, message=message),)
        asked_at = self._clock.now().timestamp()
        try:
            answer = await executor.check(candidate.question)
        except HostUnreachableError as error:
            return (
                Finding(
                    name="reach", verdict=Verdict.MISSING, message=said("unreachable: %(reason)s", reason=error.message)
                ),
            )
        except HostUnknownError as error:
            return (Finding(name="reach", verdict=Verdict.MISSING, message=error.message),)
        heard_at = self._clock.now().timestamp()
        took_s = f"{heard_at - asked_at:.1f}"
        message = said("answers through %(executor)s in %(took)s s", executor=candidate.executor, took=took_s)
        reached = Finding(name="reach", verdict=Verdict.OK, message=message)
        return (reached, _clock(answer.now, asked_at=asked_at, heard_at=heard_at), *answer.findings)

    async def _of_balancer(self, candidate: Candidate) -> Finding:
        if not candidate.balancer:
            return Finding(name="balancer", verdict=Verdict.NOTE, message=said("the group has none"))
        host = candidate.question.host
        member = Member(pool=candidate.pool, name=host.instance, address=host.address, port=host.port)
        try:
            traffic = (await self._balancers[candidate.balancer].read([member]))[member.name]
        except (BalancerPoolError, BalancerUnknownError) as error:
            return Finding(name="balancer", verdict=Verdict.MISSING, message=error.message)
        place = {"balancer": candidate.balancer, "pool": candidate.pool}
        message = said("%(balancer)s has it in pool %(pool)s: %(traffic)s", **place, traffic=_TRAFFIC[traffic])
        return Finding(name="balancer", verdict=Verdict.OK, message=message)


def _clock(now: float, *, asked_at: float, heard_at: float) -> Finding:
    # It was read at some moment between question and answer: only what lies outside of that is certain.
    skew_s = min(now - asked_at, 0.0) or max(now - heard_at, 0.0)
    if abs(skew_s) <= MAX_SKEW_S:
        return Finding(
            name="clock", verdict=Verdict.OK, message=said("within %(limit)s s of ours", limit=f"{MAX_SKEW_S:g}")
        )
    off_s = f"{abs(skew_s):.1f}"
    if skew_s > 0:
        message = said("%(off)s s ahead of ours; commands have deadlines: keep it in step (NTP)", off=off_s)
    else:
        message = said("%(off)s s behind ours; commands have deadlines: keep it in step (NTP)", off=off_s)
    return Finding(name="clock", verdict=Verdict.MISSING, message=message)
