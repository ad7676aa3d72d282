"""The laws of `rollwave.ports.balancer.Balancer`, checked from what the members' apps see."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Member, Traffic
from tests.contract.balancer.worlds import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.contract.balancer.client import Client
    from tests.contract.balancer.worlds import FakeClient, World

pytestmark = pytest.mark.anyio

DRAIN_S = 10.0


async def reached(world: World) -> set[str]:
    """Send enough requests, each over its own connection, for everybody in traffic; return who got some."""
    before = {member.name: world.seen(member) for member in world.members}
    client = world.client(keep_alive=False)
    for _ in range(3 * len(world.members)):
        await client.get()
    return {member.name for member in world.members if world.seen(member) > before[member.name]}


async def in_traffic(world: World) -> set[str]:
    return {name for name, traffic in (await world.balancer.read(world.members)).items() if traffic is Traffic.IN}


def names(members: Iterable[Member]) -> set[str]:
    return {member.name for member in members}


async def held_requests(world: World) -> list[asyncio.Task[int]]:
    """Begin slow requests until every member has one in flight."""
    requests = []
    while not all(world.in_flight(member) for member in world.members):
        before = sum(world.seen(member) for member in world.members)
        requests.append(asyncio.create_task(world.client(keep_alive=False).get("/hold")))
        await eventually(lambda before=before: sum(world.seen(member) for member in world.members) > before)
    return requests


async def test_down_stops_requests(world: World) -> None:
    """Once mark_down has returned True, no request reaches the member, and the others serve on."""
    first, *others = world.members

    assert await world.balancer.mark_down(first, drain_timeout_s=DRAIN_S)

    assert await reached(world) == names(others)
    assert world.in_flight(first) == 0


async def test_down_twice_is_down_once(world: World) -> None:
    """mark_down is idempotent: the second changes nothing and says the same."""
    first, *others = world.members

    assert await world.balancer.mark_down(first, drain_timeout_s=DRAIN_S)
    assert await world.balancer.mark_down(first, drain_timeout_s=DRAIN_S)

    assert await reached(world) == names(others)
    await world.balancer.mark_up(first)
    assert await reached(world) == names(world.members)


async def test_up_twice_is_up_once(world: World) -> None:
    """mark_up is idempotent, also for a member that never left: everybody gets their one share."""
    first, *_ = world.members

    await world.balancer.mark_up(first)
    await world.balancer.mark_up(first)

    before = world.seen(first)
    client = world.client(keep_alive=False)
    for _ in range(40):
        await client.get()
    assert world.seen(first) - before == pytest.approx(10, abs=3)


async def test_up_brings_requests(world: World) -> None:
    """Once mark_up has returned, requests reach the member."""
    first, *_ = world.members
    await world.balancer.mark_down(first, drain_timeout_s=DRAIN_S)

    await world.balancer.mark_up(first)

    assert await reached(world) == names(world.members)


async def test_slow_request_completes(world: World) -> None:
    """mark_down waits for a request in flight, which is not cut; the member is read as draining meanwhile."""
    first, *_ = world.members
    requests = await held_requests(world)

    down = asyncio.create_task(world.balancer.mark_down(first, drain_timeout_s=DRAIN_S))
    finished, _ = await asyncio.wait([down], timeout=1.5)

    assert not finished
    assert (await world.balancer.read([first]))[first.name] is Traffic.DRAINING
    world.release()
    assert await down is True
    assert (await world.balancer.read([first]))[first.name] is Traffic.OUT
    assert [await request for request in requests] == [200] * len(requests)


async def test_drain_timeout_keeps_it_out(world: World) -> None:
    """Where a request outlives the timeout, mark_down says False, the member stays out, and the request goes on."""
    first, *others = world.members
    requests = await held_requests(world)

    assert await world.balancer.mark_down(first, drain_timeout_s=1.0) is False

    assert await reached(world) == names(others)
    assert (await world.balancer.read([first]))[first.name] is Traffic.DRAINING
    world.release()
    assert [await request for request in requests] == [200] * len(requests)


async def test_read_tells_what_apps_see(world: World) -> None:
    """Read says IN for exactly the members that requests reach, through every combination of two members."""
    a, b, *_ = world.members
    for change in (a, b):
        await world.balancer.mark_down(change, drain_timeout_s=DRAIN_S)
        assert await in_traffic(world) == await reached(world)
    for change in (a, b):
        await world.balancer.mark_up(change)
        assert await in_traffic(world) == await reached(world) == names(world.members) - names({b} - {change})


async def test_nobody_left_is_503(world: World) -> None:
    """With every member out, clients get 503, and the adapter goes on working."""
    downs = await asyncio.gather(*(world.balancer.mark_down(m, drain_timeout_s=DRAIN_S) for m in world.members))

    assert all(downs)
    assert await world.client(keep_alive=False).get() == 503
    assert await in_traffic(world) == set()
    await world.balancer.mark_up(world.members[0])
    assert await reached(world) == names(world.members[:1])


async def test_concurrent_changes_all_hold(wide_world: World) -> None:
    """Twenty members go out at once and ten of them come back while five others go out: every change holds."""
    balancer, members = wide_world.balancer, wide_world.members
    first, second, third = members[:10], members[10:20], members[20:25]

    downs = await asyncio.gather(*(balancer.mark_down(m, drain_timeout_s=DRAIN_S) for m in first + second))
    assert all(downs)
    assert await in_traffic(wide_world) == names(members[20:])
    await asyncio.gather(
        *(balancer.mark_up(m) for m in first), *(balancer.mark_down(m, drain_timeout_s=DRAIN_S) for m in third)
    )

    assert await in_traffic(wide_world) == names(first + members[25:])
    assert await reached(wide_world) == names(first + members[25:])


async def test_no_request_is_lost(world: World) -> None:
    """
    Under load no request fails while members go out and in, and no request reaches one that is out.

    Two clients open a connection per request and two keep theirs. Where the world closes connections on a change, a
    client may have to send a request again, as HTTP asks of it; elsewhere not even that.
    """
    is_over = asyncio.Event()
    statuses: list[int] = []

    async def load(client: Client | FakeClient) -> None:
        with closing(client):
            while not is_over.is_set():
                statuses.append(await client.get())
                await asyncio.sleep(0)

    clients = [world.client(keep_alive=keep_alive) for keep_alive in (False, True, False, True)]
    async with asyncio.TaskGroup() as loads:
        for client in clients:
            loads.create_task(load(client))
        for member in world.members * world.rounds:
            assert await world.balancer.mark_down(member, drain_timeout_s=DRAIN_S)
            seen, sent = world.seen(member), len(statuses)
            assert world.in_flight(member) == 0
            await eventually(lambda sent=sent: len(statuses) > sent + 40)
            assert world.seen(member) == seen
            await world.balancer.mark_up(member)
            await eventually(lambda member=member, seen=seen: world.seen(member) > seen)
        is_over.set()

    assert set(statuses) == {200}
    new, kept = [sum(client.resent for client in some) for some in (clients[::2], clients[1::2])]
    assert new == 0 or world.closes == "any"
    assert kept == 0 or world.closes != "none"


async def test_no_answer_is_unknown(world: World) -> None:
    """Where nobody answers, every call raises BalancerUnknownError soon, also many at once."""
    await world.stop()
    first, *_ = world.members
    began = time.monotonic()

    calls = [
        call
        for member in world.members * 10
        for call in (world.balancer.mark_down(member, drain_timeout_s=DRAIN_S), world.balancer.mark_up(member))
    ]
    errors = await asyncio.gather(*calls, world.balancer.read([first]), return_exceptions=True)

    assert {type(error) for error in errors} == {BalancerUnknownError}
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("world", ["fake", "caddy", "haproxy", "nginx", "http"], indirect=True)
async def test_unknown_pool(world: World) -> None:
    """A pool that the balancer does not know is BalancerPoolError, and touches nobody."""
    stranger = replace(world.members[0], pool="nobody-knows")

    for call in (
        world.balancer.mark_down(stranger, drain_timeout_s=DRAIN_S),
        world.balancer.mark_up(stranger),
        world.balancer.read([stranger]),
    ):
        with pytest.raises(BalancerPoolError, match="nobody-knows"):
            await call
    assert await reached(world) == names(world.members)


async def test_read_after_restart_is_the_truth(world: World) -> None:
    """Whatever a restart forgets or remembers, read says IN for exactly the members that requests reach."""
    first, *_ = world.members
    await world.balancer.mark_down(first, drain_timeout_s=DRAIN_S)

    await world.restart()

    assert await in_traffic(world) == await reached(world)
    await world.balancer.mark_up(first)
    assert await in_traffic(world) == await reached(world) == names(world.members)
