"""What holds for nginx alone."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from rollwave.balancers.nginx import NginxBalancer, dial_of
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Member, Traffic
from tests.contract.balancer.backend import Backend
from tests.contract.balancer.client import Client
from tests.contract.balancer.worlds import POOL, SystemClock, eventually, member_of, nginx

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

MEMBERS = tuple(member_of(number, 8000 + number) for number in range(60))
"""Nobody listens there: what is checked here is the configuration."""


def again(balancer: NginxBalancer, **changed: object) -> aclosing[NginxBalancer]:
    """Return the adapter of another process for the same nginx."""
    names = ("folder", "status", "pid_file", "test", "reload")
    given = {name: getattr(balancer, f"_{name}") for name in names}
    return aclosing(NginxBalancer(**{"clock": SystemClock(), **given, **changed}))  # type: ignore[arg-type]


def master(home: Path) -> int:
    return int((home / "nginx.pid").read_text())


def reloads(home: Path) -> int:
    return (home / "log").read_text().count("signal 1 (SIGHUP) received")


async def states(balancer: NginxBalancer, members: tuple[Member, ...]) -> list[Traffic]:
    return list((await balancer.read(members)).values())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def notices(home: Path) -> None:
    """Let nginx log its reloads."""
    config = home / "nginx.conf"
    config.write_text(f"error_log stderr notice;\n{config.read_text()}")


async def test_changes_together_are_one_reload(tmp_path: Path) -> None:
    """Forty members of two pools that go out at once cost one reload, and a repetition none."""
    async with nginx(MEMBERS, tmp_path, pools=(POOL, "other")) as (process, balancer, _):
        await notices(tmp_path)
        process.stop()
        await process.start()
        out = [*MEMBERS[:20], *(replace(member, pool="other") for member in MEMBERS[20:40])]

        for _ in range(2):
            downs = await asyncio.gather(*(balancer.mark_down(member, drain_timeout_s=10) for member in out))
            assert all(downs)

        assert reloads(tmp_path) == 1
        assert await states(balancer, MEMBERS) == [Traffic.OUT] * 20 + [Traffic.IN] * 40


async def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    """Two processes that change sixty members of one pool at the same time overwrite none of each other's changes."""
    async with nginx(MEMBERS, tmp_path) as (_, ours, _), again(ours) as theirs:
        downs = [
            writer.mark_down(member, drain_timeout_s=10)
            for number, member in enumerate(MEMBERS[:40])
            for writer in ((ours, theirs)[number % 2],)
        ]
        assert all(await asyncio.gather(*downs))

        assert await states(ours, MEMBERS) == [Traffic.OUT] * 40 + [Traffic.IN] * 20


async def test_restart_remembers(tmp_path: Path) -> None:
    """A restart of nginx loads the files: who was out is out."""
    async with nginx(MEMBERS[:2], tmp_path) as (process, balancer, _):
        await balancer.mark_down(MEMBERS[0], drain_timeout_s=10)

        process.stop()
        await process.start()

        assert await states(balancer, MEMBERS[:2]) == [Traffic.OUT, Traffic.IN]


async def test_a_hand_that_undoes_is_seen_and_undone(tmp_path: Path) -> None:
    """Who was put back, or taken out, by hand is read so, and the next change puts right and loads it (I26)."""
    async with nginx(MEMBERS[:3], tmp_path) as (_, balancer, _):
        await balancer.mark_down(MEMBERS[0], drain_timeout_s=10)
        path = balancer._path(POOL)
        by_hand = path.read_text().replace(" down", "").replace(dial_of(MEMBERS[1]), f"{dial_of(MEMBERS[1])} down")
        path.write_text(by_hand)

        assert await states(balancer, MEMBERS[:3]) == [Traffic.IN, Traffic.OUT, Traffic.IN]

        await asyncio.gather(balancer.mark_down(MEMBERS[0], drain_timeout_s=10), balancer.mark_up(MEMBERS[1]))
        assert await states(balancer, MEMBERS[:3]) == [Traffic.OUT, Traffic.IN, Traffic.IN]
        assert not balancer._file(POOL).is_by_hand


async def test_an_interrupted_change_is_finished_by_the_next_read(tmp_path: Path) -> None:
    """Where a process died between the file and the reload, what read tells is what nginx does."""
    async with nginx(MEMBERS[:2], tmp_path) as (_, balancer, _):
        await balancer.mark_down(MEMBERS[1], drain_timeout_s=10)
        file = balancer._file(POOL).with_members({dial_of(MEMBERS[0]): False}, status=balancer._status)
        file = file.with_members({dial_of(MEMBERS[1]): True}, status=balancer._status)
        balancer._path(POOL).write_text(file.render(status=balancer._status))
        assert not await balancer._serves(file)

        assert await states(balancer, MEMBERS[:2]) == [Traffic.OUT, Traffic.IN]

        assert await balancer._serves(file)


async def test_another_process_knows_who_drains(tmp_path: Path) -> None:
    """A process that did not take a member out, waits for requests to it as well."""
    async with Backend(tmp_path / "drain") as backend:
        held = member_of(0, backend.port)
        async with nginx((held, MEMBERS[1]), tmp_path) as (_, ours, port), again(ours) as theirs:
            await ours.mark_down(MEMBERS[1], drain_timeout_s=10)
            request = asyncio.create_task(Client(port, keep_alive=False).get("/hold"))
            await eventually(lambda: backend.in_flight == 1)

            assert await ours.mark_down(held, drain_timeout_s=0.5) is False
            assert await states(theirs, (held,)) == [Traffic.DRAINING]
            assert await theirs.mark_down(held, drain_timeout_s=0.5) is False

            backend.release()
            assert await theirs.mark_down(held, drain_timeout_s=10) is True
            assert await request == 200


async def test_a_request_for_others_holds_up_nobody_who_went_before(tmp_path: Path) -> None:
    """A long request that began after a member had left does not make that member drain again."""
    async with Backend(tmp_path / "drain") as backend:
        held = member_of(0, backend.port)
        async with nginx((held, *MEMBERS[1:3]), tmp_path) as (_, balancer, port):
            await asyncio.gather(*(balancer.mark_down(member, drain_timeout_s=10) for member in MEMBERS[1:3]))
            request = asyncio.create_task(Client(port, keep_alive=False).get("/hold"))
            await eventually(lambda: backend.in_flight == 1)
            await balancer.mark_up(MEMBERS[2])

            assert await states(balancer, MEMBERS[1:2]) == [Traffic.OUT]
            assert await balancer.mark_down(MEMBERS[1], drain_timeout_s=0)

            backend.release()
            assert await request == 200


@pytest.mark.parametrize("broken", ["test", "reload"])
async def test_what_nginx_refuses_leaves_no_trace(tmp_path: Path, broken: str) -> None:
    """Where the test or the reload fails, the error tells what it said, and file and traffic are as before."""
    async with nginx(MEMBERS[:2], tmp_path) as (_, balancer, _):
        await balancer.mark_down(MEMBERS[1], drain_timeout_s=10)
        before = balancer._path(POOL).read_text()
        async with again(balancer, **{broken: ("sh", "-c", "echo it is full; exit 3")}) as refused:
            with pytest.raises(BalancerUnknownError, match=r"exit 3 failed: it is full"):
                await refused.mark_down(MEMBERS[0], drain_timeout_s=10)

            assert balancer._path(POOL).read_text() == before
            assert await states(refused, MEMBERS[:2]) == [Traffic.IN, Traffic.OUT]


async def test_a_reload_that_does_nothing_is_noticed(tmp_path: Path) -> None:
    """A reload that says yes and does nothing is BalancerUnknownError, never a change that only the file knows."""
    async with (
        nginx(MEMBERS[:2], tmp_path) as (_, balancer, _),
        again(balancer, reload=("true",), load_timeout_s=0.5) as deaf,
    ):
        with pytest.raises(BalancerUnknownError, match=r"has not done so within 0.5 s"):
            await deaf.mark_down(MEMBERS[0], drain_timeout_s=10)
        with pytest.raises(BalancerUnknownError, match=r"has not done so within 0.5 s"):
            await deaf.read(MEMBERS[:2])

        assert await states(balancer, MEMBERS[:2]) == [Traffic.OUT, Traffic.IN]


async def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    """A test of the configuration that does not end is an error in bounded time."""
    async with (
        nginx(MEMBERS[:1], tmp_path) as (_, balancer, _),
        again(balancer, test=("sleep", "60"), load_timeout_s=0.3) as patient,
    ):
        async with asyncio.timeout(5):
            with pytest.raises(BalancerUnknownError, match=r"sleep 60 failed: no end within 0.3 s"):
                await patient.mark_down(MEMBERS[0], drain_timeout_s=10)


async def test_a_change_that_waited_too_long_is_never_made(tmp_path: Path) -> None:
    """A change whose turn comes too late is given up: meanwhile another process may have been told the opposite."""
    async with nginx(MEMBERS[:1], tmp_path) as (_, balancer, _), again(balancer, write_timeout_s=0.2) as late:
        async with balancer._alone():
            change = asyncio.create_task(late.mark_down(MEMBERS[0], drain_timeout_s=10))
            await asyncio.wait([change], timeout=0.3)

        with pytest.raises(BalancerUnknownError, match=r"busy with other changes for 0.2 s"):
            await change
        assert await states(balancer, MEMBERS[:1]) == [Traffic.IN]


async def test_nginx_that_hangs_is_unknown(tmp_path: Path) -> None:
    """Workers that stand still are BalancerUnknownError within the timeout."""
    async with nginx(MEMBERS[:2], tmp_path) as (process, balancer, _), again(balancer, timeout_s=0.3) as impatient:
        await balancer.mark_down(MEMBERS[0], drain_timeout_s=10)
        process.pause()
        try:
            async with asyncio.timeout(5):
                with pytest.raises(BalancerUnknownError, match=r"did not answer at .* within 0.3 s"):
                    await impatient.read(MEMBERS[:2])
        finally:
            process.resume()


async def test_what_could_end_a_directive_is_refused(tmp_path: Path) -> None:
    """Neither an address nor the name of a pool gets anything but itself into nginx's configuration."""
    async with nginx(MEMBERS[:1], tmp_path) as (_, balancer, _):
        evil = replace(MEMBERS[0], address="10.0.0.1; } server { listen 80")
        with pytest.raises(BalancerPoolError, match="cannot be an address"):
            await balancer.mark_up(evil)
        with pytest.raises(BalancerPoolError, match="expected letters"):
            await balancer.mark_up(replace(MEMBERS[0], pool="../web"))


async def test_a_command_that_is_given_up_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, and its end taken note of, when whoever waited for it goes on: nothing is left to a loop that may end."""
    started, begin = [], asyncio.create_subprocess_exec

    async def begin_and_tell(*words: str, **settings: Any) -> asyncio.subprocess.Process:
        started.append(await begin(*words, **settings))
        return started[-1]

    async with nginx(MEMBERS[:1], tmp_path) as (_, balancer, _):
        monkeypatch.setattr(asyncio, "create_subprocess_exec", begin_and_tell)
        given_up = asyncio.create_task(balancer._run(("sleep", "600")))
        await eventually(lambda: bool(started))
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up

        assert started[0].returncode == -signal.SIGKILL


async def test_a_cancelled_change_is_whole_or_nothing(tmp_path: Path) -> None:
    """Whenever a change is cancelled, the next read tells what nginx does."""
    async with nginx(MEMBERS[:2], tmp_path) as (_, balancer, _), again(balancer) as theirs:
        for delay_s in (0.0, 0.055, 0.07, 0.09, 0.12, 0.2):
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await balancer.mark_down(MEMBERS[0], drain_timeout_s=10)
            (told,) = await states(theirs, MEMBERS[:1])
            assert await balancer._serves(balancer._file(POOL)) or balancer._file(POOL).is_by_hand
            assert (told is Traffic.IN) is (dial_of(MEMBERS[0]) in balancer._file(POOL).dials)
            await theirs.mark_up(MEMBERS[0])


async def test_what_nginx_may_have_been_told_is_not_taken_back(tmp_path: Path) -> None:
    """Cancelled behind its signal, a change is finished by whoever looks next: nobody knows what nginx has read."""
    told = tmp_path / "told"
    async with nginx(MEMBERS[:2], tmp_path) as (process, balancer, _):
        signals = ("sh", "-c", f'"$@" && touch {told} && exec sleep 600', "sh", *process.command, "-s", "reload")
        async with again(balancer, reload=signals) as theirs:
            change = asyncio.create_task(theirs.mark_down(MEMBERS[0], drain_timeout_s=10))
            await eventually(told.exists)
            change.cancel()
            with suppress(asyncio.CancelledError):
                await change

        assert await states(balancer, MEMBERS[:2]) == [Traffic.OUT, Traffic.IN]
        assert await balancer._serves(balancer._file(POOL))
