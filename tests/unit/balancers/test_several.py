"""Laws about several balancers before the same members: each has a say, and each is put right."""

from __future__ import annotations

import pytest

from rollwave.balancers.several import SeveralBalancers, together
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Member, Traffic
from rollwave.testing.fake_balancer import FakeBalancer

pytestmark = pytest.mark.anyio


@pytest.fixture
def pair(clock, member) -> tuple[FakeBalancer, FakeBalancer]:
    return FakeBalancer(clock, [member]), FakeBalancer(clock, [member])


async def test_one_that_has_not_drained_is_enough(pair, member):
    """A request in flight from either is in flight."""
    pair[1].begin_request(member.name)

    assert await SeveralBalancers(pair).mark_down(member, drain_timeout_s=1) is False
    pair[1].end_request(member.name)

    assert await SeveralBalancers(pair).mark_down(member, drain_timeout_s=1) is True
    assert not any(one.in_traffic(member.name) for one in pair)


@pytest.mark.parametrize("silent", [0, 1])
async def test_a_change_that_one_did_not_hear_of_is_unknown_and_the_other_has_made_it(pair, member, silent):
    """Nobody takes a member for drained on the word of half of its balancers."""
    pair[silent].is_down = True

    with pytest.raises(BalancerUnknownError):
        await SeveralBalancers(pair).mark_down(member, drain_timeout_s=1)
    assert not pair[1 - silent].in_traffic(member.name)

    with pytest.raises(BalancerUnknownError):
        await SeveralBalancers(pair).mark_up(member)
    assert pair[1 - silent].in_traffic(member.name)


@pytest.mark.parametrize("silent", [0, 1])
async def test_while_one_is_dead_the_other_can_be_read(pair, member, silent):
    """It has to be put right meanwhile, should it forget; where none answers nothing is known."""
    both = SeveralBalancers(pair)
    await both.mark_down(member, drain_timeout_s=1)
    pair[silent].is_down = True
    assert await both.read([member]) == {member.name: Traffic.OUT}

    pair[1 - silent].forget()
    assert await both.read([member]) == {member.name: Traffic.IN}

    pair[1 - silent].is_down = True
    with pytest.raises(BalancerUnknownError):
        await both.read([member])


@pytest.mark.parametrize("forgetful", [0, 1])
async def test_what_only_one_does_is_never_as_wanted(pair, member, forgetful):
    """Whatever the traffic flag says, somebody has to be told (I26)."""
    both = SeveralBalancers(pair)
    await both.mark_down(member, drain_timeout_s=1)
    pair[forgetful].forget()

    traffic = (await both.read([member]))[member.name]

    assert traffic is Traffic.SPLIT
    assert not traffic.is_as_wanted(in_traffic=True)
    assert not traffic.is_as_wanted(in_traffic=False)


async def test_one_that_still_drains_is_read_as_draining(pair, member):
    """Out is who is out, and has nothing in flight, at all of them."""
    pair[0].begin_request(member.name)
    await SeveralBalancers(pair).mark_down(member, drain_timeout_s=0)

    assert await SeveralBalancers(pair).read([member]) == {member.name: Traffic.DRAINING}


async def test_what_one_does_not_know_is_refused_unless_another_is_silent(pair, clock, member):
    """A refusal ends a stage for good; as long as anybody is silent nobody knows what was done."""
    stranger = FakeBalancer(clock, [Member(pool="web", name="shop/b:80", address="10.0.0.2", port=80)])
    both = SeveralBalancers([stranger, pair[0]])
    for call in (both.mark_up(member), both.mark_down(member, drain_timeout_s=1), both.read([member])):
        with pytest.raises(BalancerPoolError):
            await call

    pair[0].is_down = True
    with pytest.raises(BalancerUnknownError):
        await both.mark_up(member)


async def test_one_alone_is_itself(pair):
    """Most pools have one balancer."""
    assert together(pair[:1]) is pair[0]
