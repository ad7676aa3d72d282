"""What holds for HAProxy's runtime API alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rollwave.balancers.drain import wait_until
from rollwave.balancers.haproxy import HaproxyBalancer
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic
from tests.contract.balancer.backend import Backend
from tests.contract.balancer.client import Client
from tests.contract.balancer.worlds import SystemClock, eventually, haproxy, member_of

if TYPE_CHECKING:
    from pathlib import Path

    from rollwave.ports.balancer import Member

pytestmark = pytest.mark.anyio


async def is_out(balancer: HaproxyBalancer, member: Member) -> bool:
    return (await balancer.read([member]))[member.name] is Traffic.OUT


async def test_restart_forgets_and_read_shows_it(tmp_path: Path) -> None:
    """HAProxy puts everybody back into traffic when it restarts: read says so (I26)."""
    members = (member_of(0, 8000), member_of(1, 8001))
    async with haproxy(members, tmp_path) as (process, balancer, _):
        assert await balancer.mark_down(members[0], drain_timeout_s=10)
        assert list((await balancer.read(members)).values()) == [Traffic.OUT, Traffic.IN]

        process.stop()
        await process.start()

        assert list((await balancer.read(members)).values()) == [Traffic.IN, Traffic.IN]


async def test_ready_is_not_up_while_the_check_fails(tmp_path: Path) -> None:
    """mark_up does not say that a member takes traffic while HAProxy's own health check keeps it out."""
    async with Backend(tmp_path / "drain") as backend:
        members = (member_of(0, backend.port),)
        async with haproxy(members, tmp_path, check="check inter 50ms fall 1 rise 1") as (_, balancer, _):
            backend.drain_file.touch()
            impatient = HaproxyBalancer(balancer._endpoint, clock=SystemClock(), up_timeout_s=0.3)
            assert await wait_until(
                lambda: is_out(balancer, members[0]), clock=SystemClock(), timeout_s=10, poll_s=0.01
            )

            with pytest.raises(BalancerUnknownError, match=r"keeps it DOWN.*L7STS"):
                await impatient.mark_up(members[0])

            backend.drain_file.unlink()
            await balancer.mark_up(members[0])
            assert await balancer.read(members) == {members[0].name: Traffic.IN}


async def test_server_names_can_be_given(tmp_path: Path) -> None:
    """Where addresses do not tell servers apart or are not known, a function names the server."""
    members = (member_of(0, 8000), member_of(1, 8001))
    async with haproxy(members, tmp_path) as (_, by_address, _):
        swapped = {members[0].name: "any1", members[1].name: "any0"}
        by_name = HaproxyBalancer(
            by_address._endpoint, clock=SystemClock(), server_name=lambda member: swapped[member.name]
        )

        assert await by_name.mark_down(members[0], drain_timeout_s=10)

        assert list((await by_address.read(members)).values()) == [Traffic.IN, Traffic.OUT]


async def test_unknown_server_is_named(tmp_path: Path) -> None:
    """A member without a server in the backend is an error that names both."""
    async with haproxy((member_of(0, 8000),), tmp_path) as (_, balancer, _):
        with pytest.raises(BalancerPoolError, match=r"'web'.*0 servers '127.0.0.1:8999'"):
            await balancer.mark_down(member_of(9, 8999), drain_timeout_s=10)


async def test_socket_without_admin_level_says_so(tmp_path: Path) -> None:
    """A runtime API that may only be read cannot take anybody out, and the error says what is missing."""
    members = (member_of(0, 8000),)
    async with haproxy(members, tmp_path) as (process, balancer, _):
        config = tmp_path / "haproxy.cfg"
        config.write_text(config.read_text().replace("level admin", "level operator"))
        process.stop()
        await process.start()

        with pytest.raises(BalancerPoolError, match="level admin"):
            await balancer.mark_down(members[0], drain_timeout_s=10)


async def test_unix_socket(tmp_path: Path) -> None:
    """The endpoint may be the path of a unix socket."""
    members = (member_of(0, 8000),)
    async with haproxy(members, tmp_path) as (process, tcp, _):
        config = tmp_path / "haproxy.cfg"
        path = tmp_path / "s"
        config.write_text(config.read_text().replace("global", f"global\n  stats socket {path} level admin"))
        process.stop()
        await process.start()
        await eventually(path.exists)
        unix = HaproxyBalancer(str(path), clock=SystemClock())

        assert await unix.mark_down(members[0], drain_timeout_s=10)

        assert await tcp.read(members) == {members[0].name: Traffic.OUT}


async def test_silence_is_unknown_within_the_timeout(tmp_path: Path) -> None:
    """A runtime API that accepts and never answers: BalancerUnknownError once per shared read, not once per caller."""
    members = tuple(member_of(number, 8000 + number) for number in range(20))
    async with Backend(tmp_path) as mute:  # It waits for the end of an HTTP request, which never comes.
        balancer = HaproxyBalancer(f"127.0.0.1:{mute.port}", clock=SystemClock(), timeout_s=0.3)
        async with asyncio.timeout(3):
            errors = await asyncio.gather(
                *(balancer.mark_down(member, drain_timeout_s=10) for member in members), return_exceptions=True
            )

    assert {type(error) for error in errors} == {BalancerUnknownError}
    assert "did not answer" in str(errors[0])


async def test_maintenance_waits_for_the_drain(tmp_path: Path) -> None:
    """Also where HAProxy is told to cut the sessions of a server that goes down, mark_down cuts no request."""
    async with Backend(tmp_path / "drain") as backend:
        members = (member_of(0, backend.port),)
        check = "check inter 50ms on-marked-down shutdown-sessions"
        async with haproxy(members, tmp_path, check=check) as (_, balancer, port):
            request = asyncio.create_task(Client(port, keep_alive=False).get("/hold"))
            await eventually(lambda: backend.in_flight == 1)

            assert not await balancer.mark_down(members[0], drain_timeout_s=0.3)
            backend.release()

            assert await request == 200
            assert await balancer.mark_down(members[0], drain_timeout_s=10)
