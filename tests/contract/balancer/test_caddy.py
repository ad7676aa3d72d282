"""What holds for Caddy's admin API alone."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import httpx
import pytest

from rollwave.balancers.caddy import CaddyBalancer, dial_of
from rollwave.ports.balancer import BalancerUnknownError, Traffic
from tests.contract.balancer.backend import Backend
from tests.contract.balancer.worlds import POOL, SystemClock, caddy, member_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

MEMBERS = tuple(member_of(number, 8000 + number) for number in range(60))
"""Nobody listens there: what is checked here is the configuration."""


async def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    """Two processes that change sixty members of one pool at the same time overwrite none of each other's changes."""
    async with (
        caddy(MEMBERS, tmp_path) as (_, ours, _),
        aclosing(CaddyBalancer(ours._admin_url, clock=SystemClock())) as theirs,
    ):
        downs = [
            writer.mark_down(member, drain_timeout_s=10)
            for number, member in enumerate(MEMBERS[:40])
            for writer in ((ours, theirs)[number % 2],)
        ]
        assert all(await asyncio.gather(*downs))

        traffic = await ours.read(MEMBERS)

    assert [traffic[member.name] for member in MEMBERS] == [Traffic.OUT] * 40 + [Traffic.IN] * 20


async def test_changes_together_are_one_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty members that go out at once cost one write of the configuration."""
    writes = []
    send = httpx.AsyncClient.request

    async def spy(self: httpx.AsyncClient, method: str, *args: object, **kwargs: object) -> httpx.Response:
        writes.extend([method] if method != "GET" else [])
        return await send(self, method, *args, **kwargs)

    monkeypatch.setattr(httpx.AsyncClient, "request", spy)
    async with caddy(MEMBERS, tmp_path) as (_, balancer, _):
        await asyncio.gather(*(balancer.mark_down(member, drain_timeout_s=10) for member in MEMBERS[:40]))

    assert writes == ["PATCH"]


async def test_options_of_other_upstreams_stay(tmp_path: Path) -> None:
    """A change keeps the place and the options of every upstream that it is not about."""
    async with caddy(MEMBERS[:3], tmp_path) as (_, balancer, _), httpx.AsyncClient() as http:
        url = f"{balancer._admin_url}/id/{POOL}/upstreams"
        special = {"dial": dial_of(MEMBERS[1]), "max_requests": 7}
        await http.patch(f"{url}/1", json=special)

        await balancer.mark_down(MEMBERS[0], drain_timeout_s=10)
        await balancer.mark_up(MEMBERS[0])

        upstreams = (await http.get(url)).json()
    assert upstreams == [special, {"dial": dial_of(MEMBERS[2])}, {"dial": dial_of(MEMBERS[0])}]


async def test_pool_without_upstreams_gets_its_first(tmp_path: Path) -> None:
    """A handler that has no upstreams at all (no list, not an empty one) takes its first member."""
    async with caddy(MEMBERS[:1], tmp_path) as (_, balancer, _), httpx.AsyncClient() as http:
        await http.delete(f"{balancer._admin_url}/id/{POOL}/upstreams")

        await balancer.mark_up(MEMBERS[0])

        assert await balancer.read(MEMBERS[:1]) == {MEMBERS[0].name: Traffic.IN}


async def test_resume_remembers(tmp_path: Path) -> None:
    """With --resume, Caddy remembers across a restart who is out."""
    async with caddy(MEMBERS[:2], tmp_path) as (process, balancer, _):
        await balancer.mark_down(MEMBERS[0], drain_timeout_s=10)

        process.stop()
        await process.start()

        assert list((await balancer.read(MEMBERS[:2])).values()) == [Traffic.OUT, Traffic.IN]


async def test_silence_is_unknown_within_the_timeout(tmp_path: Path) -> None:
    """An admin API that accepts and never answers is BalancerUnknownError once per shared call, not once per caller."""
    members = MEMBERS[:20]
    async with (
        Backend(tmp_path) as mute,
        aclosing(CaddyBalancer(f"http://127.0.0.1:{mute.port}", clock=SystemClock(), timeout_s=0.3)) as balancer,
    ):
        mute.holds_all = True
        async with asyncio.timeout(3):
            errors = await asyncio.gather(*(balancer.mark_up(member) for member in members), return_exceptions=True)

    assert {type(error) for error in errors} == {BalancerUnknownError}
    assert "did not answer" in str(errors[0])
