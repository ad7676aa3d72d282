from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rollwave.balancers.drain_file import DrainFileBalancer
from rollwave.ports.balancer import BalancerUnknownError, Member, Traffic
from rollwave.ports.executor import HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.unit.balancers.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Hosts:
    def __init__(self) -> None:
        self.drained: set[str] = set()
        self.request_counts: list[int] = []
        self.is_stubborn = False
        self.reads = 0

    async def set_drain(self, member: Member, drained: bool) -> None:
        if self.is_stubborn:
            return
        (self.drained.add if drained else self.drained.discard)(member.name)

    async def find_drained(self, members: Sequence[Member]) -> frozenset[str]:
        self.reads += 1
        return frozenset(self.drained.intersection(member.name for member in members))

    async def in_flight(self, member: Member) -> int:
        return self.request_counts.pop(0) if self.request_counts else 0


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


def balancer_of(hosts: Hosts, clock: VirtualClock, *, counts: bool = False) -> DrainFileBalancer:
    return DrainFileBalancer(
        set_drain=hosts.set_drain,
        find_drained=hosts.find_drained,
        in_flight=hosts.in_flight if counts else None,
        clock=clock,
        settle_s=4.0,
        poll_s=0.5,
    )


async def test_settles_before_it_says_drained(hosts: Hosts, clock: VirtualClock, member: Member) -> None:
    """True comes only after the file is there and the settling time has passed."""
    assert await balancer_of(hosts, clock).mark_down(member, drain_timeout_s=10)

    assert hosts.drained == {member.name}
    assert clock.slept_s == [4.0]


async def test_less_time_than_it_needs_is_no(hosts: Hosts, clock: VirtualClock, member: Member) -> None:
    """With less time than the settling takes, nobody can say that it is drained: False, and it stays out."""
    balancer = balancer_of(hosts, clock)

    assert not await balancer.mark_down(member, drain_timeout_s=3)

    assert clock.slept_s == [3]
    assert await balancer.read([member]) == {member.name: Traffic.OUT}


async def test_counted_requests_are_waited_for(hosts: Hosts, clock: VirtualClock, member: Member) -> None:
    """Where requests can be counted, the settling time is followed by waiting for them, within the timeout."""
    hosts.request_counts = [2, 1]
    assert await balancer_of(hosts, clock, counts=True).mark_down(member, drain_timeout_s=10)
    assert clock.slept_s == [4.0, 0.5, 0.5]

    hosts.request_counts = [1] * 100
    assert not await balancer_of(hosts, clock, counts=True).mark_down(member, drain_timeout_s=5)


async def test_file_that_will_not_go_is_unknown(hosts: Hosts, clock: VirtualClock, member: Member) -> None:
    """mark_up reads back: a drain file that is still there is an error that names the member."""
    hosts.drained.add(member.name)
    hosts.is_stubborn = True

    with pytest.raises(BalancerUnknownError, match="shop/a:80"):
        await balancer_of(hosts, clock).mark_up(member)


async def test_all_members_are_read_at_once(hosts: Hosts, clock: VirtualClock) -> None:
    """However many they are, they are looked up together; requests are counted only of those with a drain file."""
    names = [f"shop/{number}:80" for number in range(100)]
    members = [Member(pool="web", name=name, address="10.0.0.1", port=80) for name in names]
    hosts.drained = {names[3], names[5]}
    hosts.request_counts = [0, 2]

    traffic = await balancer_of(hosts, clock, counts=True).read(members)

    assert hosts.reads == 1
    assert {name for name in names if traffic[name] is not Traffic.IN} == hosts.drained
    assert (traffic[names[3]], traffic[names[5]]) == (Traffic.OUT, Traffic.DRAINING)


async def test_silent_host_is_an_unknown_balancer(clock: VirtualClock, member: Member) -> None:
    """A host that cannot be reached means that nobody knows whether the member takes traffic."""

    async def unreachable(*_: object) -> bool:
        raise HostUnreachableError("no route")

    balancer = DrainFileBalancer(set_drain=unreachable, find_drained=unreachable, clock=clock, settle_s=1)

    for call in (balancer.mark_down(member, drain_timeout_s=1), balancer.mark_up(member), balancer.read([member])):
        with pytest.raises(BalancerUnknownError, match="no route"):
            await call
