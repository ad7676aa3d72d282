"""What only the SSH executor can get wrong: keys, ways, connections, and what goes over them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from demo.processes import free_ports
from rollwave.executors import ssh_connections
from rollwave.executors.patience import Patience
from rollwave.executors.ssh_connections import KEEPALIVE_S, SshAccess
from rollwave.host import driver_source
from rollwave.ports.executor import HostReport, HostState, HostUnknownError, HostUnreachableError, HostVerb
from tests.contract.executor.local_world import BRISK, wait_until, workers_of
from tests.contract.executor.sshd import make_key
from tests.contract.executor.world import Order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollwave.executors.ssh import SshExecutor
    from rollwave.ports.executor import Host
    from tests.contract.executor.ssh_world import SshWorld

pytestmark = pytest.mark.anyio

VANISHED_S = 15
"""Six until the connection is given up, five for another one, and the rest for a busy machine."""

IN_SECONDS = 5
"""For what must not wait for the end of a stage, on a busy machine; a stage has 30 s and more."""


@pytest.fixture
def world(ssh_world: SshWorld) -> SshWorld:
    return ssh_world


def access(world: SshWorld, **other: object) -> SshExecutor:
    return world._new_executor(access=world.servers.site.access(**other))


def unhurried(world: SshWorld) -> SshExecutor:
    """Return an executor that has every patience that it has by default."""
    site = world.servers.site
    access = SshAccess(port=site.port, identity=site.identity, known_hosts=site.known_hosts)
    return world._new_executor(access=access, patience=Patience())


def essence(report: HostReport) -> tuple[HostState, str]:
    return report.state, report.code


async def installed(world: SshWorld) -> Host:
    host = world.host()
    for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
        assert (await world.run(Order(host=host, verb=verb))).state is HostState.SUCCEEDED
    return host


async def held_verify(world: SshWorld, executor: SshExecutor | None = None) -> tuple[Order, asyncio.Task[HostReport]]:
    """Return a verify that runs on its host until it is released, and the call that waits for it."""
    verify = Order(host=await installed(world), verb=HostVerb.VERIFY)
    world.hold(verify.host)
    caller = asyncio.create_task((executor or world.executor).run(world.command(verify)))
    await world.at_work(verify)
    return verify, caller


def below(host: Host, *names: str) -> Path:
    return Path(host.deploy_path, *names)


def connections_of(world: SshWorld, host: Host) -> set[str]:
    """Return the sshd processes that serve connections to *host*, each one of them."""
    listener = world.servers.of(host).program.pid
    return set(Path(f"/proc/{listener}/task/{listener}/children").read_text().split())


def sessions_of(world: SshWorld, host: Host) -> int:
    return len(connections_of(world, host))


class TestWhoIsThere:
    """Host keys and logins: a failure of its own kind each, that says what to do."""

    async def test_a_wrong_host_key_is_named_and_nothing_is_sent(self, world: SshWorld, tmp_path: Path) -> None:
        host = world.host()
        stranger = make_key(tmp_path / "other")
        known_hosts = world.servers.site.know([(host.address, stranger)], tmp_path / "known_hosts")
        ours = access(world, known_hosts=known_hosts)
        command = world.command(Order(host=host, verb=HostVerb.DOWNLOAD))

        report = await ours.run(command)

        assert essence(report) == (HostState.FAILED, "host.key_mismatch")
        assert str(known_hosts) in report.message
        with pytest.raises(HostUnknownError) as caught:
            await ours.status(command)
        assert caught.value.code == "host.key_mismatch"
        assert not below(host).exists()

        world.servers.site.know([], known_hosts)  # somebody has looked, and put it right: no restart is needed
        assert (await ours.run(command)).state is HostState.SUCCEEDED

    async def test_a_host_key_that_nobody_knows_is_not_trusted(self, world: SshWorld, tmp_path: Path) -> None:
        (tmp_path / "known_hosts").write_text("")
        host = world.host()

        report = await access(world, known_hosts=tmp_path / "known_hosts").run(
            world.command(Order(host=host, verb=HostVerb.DOWNLOAD))
        )

        assert essence(report) == (HostState.FAILED, "host.key_unknown")
        assert not below(host).exists()

    @pytest.mark.parametrize("wrong", ["identity", "user"])
    async def test_a_login_that_is_refused_is_named(self, world: SshWorld, tmp_path: Path, wrong: str) -> None:
        other = {"identity": make_key(tmp_path / "other"), "user": "nobody"}[wrong]

        report = await access(world, **{wrong: other}).run(
            world.command(Order(host=world.host(), verb=HostVerb.DOWNLOAD))
        )

        assert essence(report) == (HostState.FAILED, "host.login_refused")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections, and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


class TestUnreachable:
    """Found in seconds, and not at the end of a stage."""

    async def test_a_closed_port(self, world: SshWorld) -> None:
        (port,) = free_ports(1)
        await self._is_unreachable(world, port)

    async def test_a_port_that_never_answers(self, world: SshWorld, silent_port: int) -> None:
        await self._is_unreachable(world, silent_port)

    async def _is_unreachable(self, world: SshWorld, port: int) -> None:
        host = replace(world.host(), address="127.0.0.1")
        ours = access(world, port=port, connect_timeout_s=0.5)
        command = world.command(Order(host=host, verb=HostVerb.VERIFY))
        began_at = time.monotonic()

        for call in (ours.run, ours.status):
            with pytest.raises(HostUnreachableError, match=f"127.0.0.1:{port}") as caught:
                await call(command)
            assert caught.value.facts["server"] == host.server
            assert caught.value.facts["instance"] == host.instance

        assert time.monotonic() - began_at < IN_SECONDS

    async def test_one_that_vanishes_in_mid_stage(self, world: SshWorld) -> None:
        """With every patience as it is by default. No word comes, not even a reset; and what had begun goes on."""
        verify, caller = await held_verify(world, unhurried(world))
        machine = world.servers.of(verify.host).program
        machine.pause()
        try:
            async with asyncio.timeout(VANISHED_S):
                with pytest.raises(HostUnreachableError) as caught:
                    await caller
        finally:
            machine.resume()

        assert caught.value.facts["server"] == verify.host.server
        world.release(verify.host)
        assert (await world.settled(verify)).state is HostState.SUCCEEDED
        assert world.starts(verify.host) == 1

    async def test_one_that_is_unreachable_does_not_delay_the_others(self, world: SshWorld, silent_port: int) -> None:
        """Hosts behind one dead address all hear of it after one time-out, not one after the other."""
        dead = replace(world.host(), address="127.0.0.1")
        hosts = [replace(dead, instance=f"shop/dead:{number}") for number in range(20)]
        ours = access(world, port=silent_port, connect_timeout_s=1)
        began_at = time.monotonic()

        errors = await asyncio.gather(
            *(ours.status(world.command(Order(host=host, verb=HostVerb.VERIFY))) for host in hosts),
            return_exceptions=True,
        )

        assert [error.facts["instance"] for error in errors] == [host.instance for host in hosts]
        assert time.monotonic() - began_at < IN_SECONDS


class TestConnections:
    """One per server, as long as it is of use."""

    async def test_all_stages_and_all_callers_share_one(self, world: SshWorld) -> None:
        host = world.host()
        await world.serve(host, "1.0")
        await asyncio.gather(*(world.status(Order(host=host, verb=HostVerb.VERIFY)) for _ in range(12)))

        assert sessions_of(world, host) == 1

    async def test_commands_one_after_the_other_start_nothing_anew(self, world: SshWorld) -> None:
        """Neither a session nor a shell nor a Python: an idle porter takes the next order."""
        prove = Order(host=world.host(), verb=HostVerb.PROVE)
        await world.run(prove)
        sshd = world.servers.of(prove.host).program
        before = set(sshd.processes())

        for attempt in (1, 2, 3):
            await world.status(prove)
            await world.run(Order(host=prove.host, verb=HostVerb.PROVE, attempt=attempt))

        assert set(sshd.processes()) == before

    async def test_one_that_is_idle_for_long_is_closed(self, world: SshWorld) -> None:
        world.executor = access(world, idle_s=0.1)
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))

        await asyncio.to_thread(wait_until, lambda: sessions_of(world, host) == 0)
        assert (await world.run(Order(host=host, verb=HostVerb.INSTALL))).state is HostState.SUCCEEDED

    async def test_closing_ends_them_and_the_next_command_opens_one(self, world: SshWorld) -> None:
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))

        await world.executor.close()

        wait_until(lambda: sessions_of(world, host) == 0)
        assert (await world.run(Order(host=host, verb=HostVerb.INSTALL))).state is HostState.SUCCEEDED

    async def test_a_cancelled_call_does_not_take_the_connection_from_others(self, world: SshWorld) -> None:
        """Neither while it is being opened, nor later."""
        host = world.host()
        first = asyncio.create_task(world.run(Order(host=host, verb=HostVerb.DOWNLOAD)))
        second = asyncio.create_task(world.run(Order(host=host, verb=HostVerb.DOWNLOAD)))
        await asyncio.sleep(0)
        first.cancel()

        assert (await second).state is HostState.SUCCEEDED
        assert sessions_of(world, host) == 1

    async def test_through_jump_hosts(self, world: SshWorld) -> None:
        """Each of them with its own host key checked; the server itself sees the last of them."""
        outer, inner, host = world.host(), world.host(), world.host()
        port = world.servers.site.port
        world.executor = access(world, jump=(f"{outer.address}:{port}", f"{inner.address}:{port}"))

        await world.serve(host, "1.0")

        assert world.running(host) == "1.0"
        assert [sessions_of(world, one) for one in (outer, inner, host)] == [1, 1, 1]

    async def test_a_jump_host_that_is_down_is_named(self, world: SshWorld) -> None:
        (port,) = free_ports(1)
        host = world.host()

        with pytest.raises(HostUnreachableError, match=f"{host.server}.*jump host.*127.0.0.1:{port}"):
            await access(world, jump=(f"127.0.0.1:{port}",)).run(world.command(Order(host=host, verb=HostVerb.PROVE)))


class TestFaults:
    """Whatever breaks on the way, the host's journal has the answer."""

    async def test_a_server_killed_in_mid_stage_loses_nothing(self, world: SshWorld) -> None:
        """The sshd and its sessions die; the verb lives on, is joined once sshd is back, and was begun once."""
        verify, caller = await held_verify(world)

        world.take_down(verify.host)
        with pytest.raises(HostUnknownError) as caught:
            await caller
        assert caught.value.code in {"host.unknown", "host.unreachable"}
        world.bring_back(verify.host)

        assert (await world.status(verify)).state is HostState.RUNNING
        world.release(verify.host)
        assert (await world.run(verify)).state is HostState.SUCCEEDED
        assert world.starts(verify.host) == 1

    async def test_a_driver_killed_in_mid_stage_is_known_to_have_ended(self, world: SshWorld) -> None:
        """Its worker, too: the journal says that it began, and to ask again does it again."""
        verify, caller = await held_verify(world)
        drivers = workers_of(verify.host)
        assert drivers
        for pid in drivers:
            os.kill(pid, signal.SIGKILL)

        with pytest.raises(HostUnknownError):
            await caller
        report = await world.settled(verify)
        assert report.state is HostState.ABSENT
        assert report.detail["interrupted"] is True
        world.release(verify.host)
        assert (await world.run(verify)).state is HostState.SUCCEEDED

    async def test_a_stale_worker_that_still_sends_is_fenced_by_the_host(self, world: SshWorld) -> None:
        """It has a connection of its own that has never been closed."""
        host = await installed(world)
        stale = world._new_executor()
        await stale.status(world.command(Order(host=host, verb=HostVerb.VERIFY, fence=1)))

        await world.status(Order(host=host, verb=HostVerb.VERIFY, fence=2))

        report = await stale.run(world.command(Order(host=host, verb=HostVerb.VERIFY, fence=1)))
        assert essence(report) == (HostState.FAILED, "host.fenced")

    async def test_a_host_that_stands_still_is_unknown_and_read_back(self, world: SshWorld) -> None:
        """The connection is open and nobody answers: given up in time, and asked by another one."""
        world.executor = world._new_executor(patience=Patience(slot_wait_s=0.1, poll_s=0.05, answer_s=1))
        host = await installed(world)
        verify = Order(host=host, verb=HostVerb.VERIFY)
        world.servers.of(host).program.pause()
        began_at = time.monotonic()

        with pytest.raises(HostUnknownError, match="no answer within"):
            await world.run(verify)
        assert time.monotonic() - began_at < IN_SECONDS
        world.servers.of(host).program.resume()

        world.executor = world._new_executor()
        assert (await world.run(verify)).state is HostState.SUCCEEDED

    async def test_a_host_that_hangs_for_a_while_is_waited_for(self, world: SshWorld) -> None:
        """Not even another connection is needed where it comes back before it is given up."""
        verify, caller = await held_verify(world, unhurried(world))
        sshd = world.servers.of(verify.host).program
        before = connections_of(world, verify.host)
        sshd.pause()
        try:
            await asyncio.wait({caller}, timeout=1.5 * KEEPALIVE_S)
            assert not caller.done()
        finally:
            sshd.resume()
        world.release(verify.host)

        assert (await caller).state is HostState.SUCCEEDED
        assert connections_of(world, verify.host) >= before

    async def test_a_command_that_is_slow_on_a_host_that_lives_is_waited_for(
        self, world: SshWorld, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However often it is looked whether the connection lives: sshd says that it does, and the command nothing."""
        monkeypatch.setattr(ssh_connections, "KEEPALIVE_S", 0.1)
        ours = world._new_executor(sudo=("sh", "-c", 'sleep 1.5; exec "$@"', "sh"), patience=Patience())

        report = await ours.run(world.command(Order(host=world.host(), verb=HostVerb.DOWNLOAD)))

        assert report.state is HostState.SUCCEEDED

    async def test_noise_of_start_up_files_is_not_an_answer(self, world: SshWorld) -> None:
        """A shell that greets everybody is none of our business."""
        world.executor = world._new_executor(sudo=("sh", "-c", 'echo hello; echo again; exec "$@"', "sh"))

        await world.serve(world.host(), "1.0")

    @pytest.mark.parametrize("python", ["/nonexistent/python3", "/bin/false"])
    async def test_a_python_that_is_not_there_is_named(self, world: SshWorld, python: str) -> None:
        ours = world._new_executor(python=python)

        with pytest.raises(HostUnknownError, match=r"exit code (127|1)"):
            await ours.run(world.command(Order(host=world.host(), verb=HostVerb.DOWNLOAD)))


class TestWhatIsCarried:
    """Driver, plan, keys and package: where they are missing, and no more."""

    async def test_only_what_is_missing_goes_over_the_wire(self, world: SshWorld) -> None:
        host = world.host()
        prove = Order(host=host, verb=HostVerb.PROVE)
        await world.run(prove)
        home = below(host, ".rollwave")
        before = {
            path: path.stat().st_mtime_ns for name in ("drivers", "plans", "keys") for path in (home / name).glob("*.*")
        }
        assert len(before) == 3

        await world.run(prove)

        assert {path: path.stat().st_mtime_ns for path in before} == before

    async def test_the_package_comes_over_the_same_connection(self, world: SshWorld, tmp_path: Path) -> None:
        """The host reaches neither our disk nor a server: what it has is what was sent, checked by itself."""
        host = world.host()
        download = Order(host=host, verb=HostVerb.DOWNLOAD)
        command = world.command(download)
        moved = tmp_path / "archive"
        archive = command.plan.package.url.removeprefix("file://")
        shutil.copy(archive, moved)
        with moved.open("ab") as file:
            file.write(b"x")
        size, url = command.plan.package.size + 1, moved.as_uri()
        tampered = replace(
            command, plan=replace(command.plan, package=replace(command.plan.package, url=url, size=size))
        )

        assert essence(await world.executor.run(tampered)) == (HostState.FAILED, "package.manifest_mismatch")
        assert (await world.executor.run(replace(command, attempt=2))).state is HostState.SUCCEEDED
        assert not list(below(host, ".rollwave", "incoming").iterdir())

    @pytest.mark.parametrize("content", [None, b"", b"much longer than the package that was signed" * 1000])
    async def test_a_package_that_is_not_here_as_signed_is_named(
        self, world: SshWorld, tmp_path: Path, content: bytes | None
    ) -> None:
        """Gone, cut or grown: nothing else takes harm, least of all the next order of that session."""
        archive = tmp_path / "archive"
        if content is not None:
            archive.write_bytes(content)
        host = world.host()
        command = world.command(Order(host=host, verb=HostVerb.DOWNLOAD))
        package = replace(command.plan.package, url=archive.as_uri())

        report = await world.executor.run(replace(command, plan=replace(command.plan, package=package)))

        assert essence(report) == (HostState.FAILED, "package.fetch_failed")
        assert str(archive) in report.message
        assert (await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))).state is HostState.SUCCEEDED

    async def test_a_host_that_takes_no_more_is_heard_at_once(self, world: SshWorld, tmp_path: Path) -> None:
        """The disk refuses in the middle: nobody waits for what will not come, and what still does is no order."""
        ours = world._new_executor(sudo=("prlimit", f"--fsize={1 << 20}"))
        archive = tmp_path / "archive"
        archive.write_bytes(os.urandom(8 << 20))
        command = world.command(Order(host=world.host(), verb=HostVerb.DOWNLOAD))
        package = replace(command.plan.package, url=archive.as_uri(), size=8 << 20)

        refused = await ours.run(replace(command, plan=replace(command.plan, package=package)))
        done = await ours.run(replace(command, attempt=2))

        assert essence(refused) == (HostState.FAILED, "host.io_error")
        assert done.state is HostState.SUCCEEDED

    async def test_a_tampered_driver_is_a_refusal_for_run_and_unknown_for_status(self, world: SshWorld) -> None:
        host = world.host()
        order = Order(host=host, verb=HostVerb.DOWNLOAD)
        await world.run(order)
        (driver,) = below(host, ".rollwave", "drivers").glob("*.py")
        driver.write_bytes(driver.read_bytes() + b"\n")

        assert essence(await world.run(order)) == (HostState.FAILED, "host.file_changed")
        with pytest.raises(HostUnknownError, match=driver.name):
            await world.status(order)

    async def test_keys_that_are_trusted_no_more_are_taken_away(self, world: SshWorld) -> None:
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.PROVE))

        report = await world._new_executor(trusted_keys={}).run(world.command(Order(host=host, verb=HostVerb.DOWNLOAD)))

        assert essence(report) == (HostState.FAILED, "package.unknown_key")

    async def test_a_mistyped_path_is_not_made(self, world: SshWorld, tmp_path: Path) -> None:
        host = replace(world.host(), deploy_path=str(tmp_path / "mistyped" / "shop"))

        report = await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))

        assert essence(report) == (HostState.FAILED, "host.no_deploy_path")
        assert not below(host).parent.exists()

    async def test_the_drain_file_comes_and_goes(self, world: SshWorld) -> None:
        """Idempotent in both directions, also on a host that nothing was released to yet."""
        host = world.host()
        place = below(host, "shared", "drain")

        for drained in (False, False, True, True, False, False):
            await world.executor.set_drain(host, drained=drained)
            assert await world.executor.is_drained(host) is place.exists() is drained

        world.take_down(host)
        for call in (world.executor.set_drain(host, drained=True), world.executor.is_drained(host)):
            with pytest.raises(HostUnreachableError) as caught:
                await call
            assert caught.value.facts["instance"] == host.instance

    async def test_the_driver_is_the_very_file(self, world: SshWorld) -> None:
        host = world.host()
        await world.run(Order(host=host, verb=HostVerb.PROVE))

        (driver,) = below(host, ".rollwave", "drivers").glob("*.py")
        assert driver.read_bytes() == driver_source()


async def test_no_more_servers_are_spoken_to_than_allowed(world: SshWorld) -> None:
    """A verb that waits gives its place to others, so one place is enough for all of them."""
    world.executor = world._new_executor(parallel=1, patience=BRISK)
    slow, other = await installed(world), world.host()
    world.hold(slow)
    caller = asyncio.create_task(world.run(Order(host=slow, verb=HostVerb.VERIFY)))
    await world.at_work(Order(host=slow, verb=HostVerb.VERIFY))

    await world.serve(other, "1.0")

    assert not caller.done()
    world.release(slow)
    assert (await caller).state is HostState.SUCCEEDED
