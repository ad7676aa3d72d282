"""What tests and the simulator rely on, beyond the contract that the fake shares with the real balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rollwave.ports.balancer import BalancerUnknownError, Traffic
from rollwave.testing.fake_balancer import BalancerFault, FakeBalancer

if TYPE_CHECKING:
    from rollwave.ports.balancer import Member
    from tests.unit.balancers.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def test_counts_transitions_not_calls(clock: VirtualClock, member: Member) -> None:
    """The counters count changes of traffic: a repeated command is none, and neither is a restart."""
    fake = FakeBalancer(clock, [member])
    for _ in range(2):
        await fake.mark_down(member, drain_timeout_s=1)
        await fake.mark_down(member, drain_timeout_s=1)
        await fake.mark_up(member)
    await fake.mark_down(member, drain_timeout_s=1)
    fake.forget()

    assert (fake.downs[member.name], fake.ups[member.name]) == (3, 2)
    assert fake.in_traffic(member.name)


async def test_no_time_passes_without_reason(clock: VirtualClock, member: Member) -> None:
    """A member without requests drains without a wait, so that simulations stay fast."""
    fake = FakeBalancer(clock, [member])

    assert await fake.mark_down(member, drain_timeout_s=60)

    assert clock.slept_s == []


async def test_drain_timeout_is_exact(clock: VirtualClock, member: Member) -> None:
    """With a request that never ends, mark_down says False after exactly the timeout; new requests are refused."""
    fake = FakeBalancer(clock, [member], poll_s=0.4)
    assert fake.begin_request(member.name)

    assert not await fake.mark_down(member, drain_timeout_s=1)

    assert sum(clock.slept_s) == pytest.approx(1)
    assert not fake.begin_request(member.name)
    assert await fake.read([member]) == {member.name: Traffic.DRAINING}
    fake.end_request(member.name)
    assert await fake.read([member]) == {member.name: Traffic.OUT}


async def test_lost_reply_has_its_effect(clock: VirtualClock, member: Member) -> None:
    """A lost reply raises after the effect; an unreachable balancer raises without one; then all is well again."""
    fake = FakeBalancer(clock, [member])
    fake.fail_next(BalancerFault.UNREACHABLE, BalancerFault.LOST_REPLY)

    with pytest.raises(BalancerUnknownError):
        await fake.mark_down(member, drain_timeout_s=1)
    assert fake.in_traffic(member.name)
    with pytest.raises(BalancerUnknownError):
        await fake.mark_down(member, drain_timeout_s=1)
    assert fake.out_of_traffic(member.pool) == (member.name,)
    assert await fake.read([member]) == {member.name: Traffic.OUT}


async def test_delays_lie_before_and_after_the_effect(clock: VirtualClock, member: Member) -> None:
    """The request takes its time before the effect, the reply after it."""
    fake = FakeBalancer(clock, [member])
    fake.request_delay_s, fake.reply_delay_s = 2.0, 3.0

    await fake.mark_up(member)

    assert clock.slept_s == [2.0, 3.0]


async def test_an_end_without_a_beginning_is_a_bug_of_the_test(clock: VirtualClock, member: Member) -> None:
    """The books of requests in flight never go below zero."""
    with pytest.raises(AssertionError, match="no request"):
        FakeBalancer(clock, [member]).end_request(member.name)
