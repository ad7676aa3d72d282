"""What only an executor of real processes can get wrong."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rollwave.executors.local import LocalExecutor
from rollwave.executors.patience import Patience
from rollwave.host import driver_source
from rollwave.ports.executor import HostState, HostUnknownError, HostUnreachableError, HostVerb
from tests.contract.executor.local_world import Fleet, LocalWorld
from tests.contract.executor.world import LIMIT_S, Order

if TYPE_CHECKING:
    from rollwave.ports.executor import Host, HostReport

pytestmark = pytest.mark.anyio

TELLING_DRIVER = b"""
import json, os, sys, time
home = os.path.dirname(os.path.dirname(sys.argv[2]))
mine = os.path.join(home, "active-%d" % os.getpid())
open(mine, "w").close()
active = sum(name.startswith("active-") for name in os.listdir(home))
time.sleep(0.05)
os.unlink(mine)
detail = {"environment": dict(os.environ), "session": os.getsid(0), "active": active, "input": sys.stdin.read()}
print(json.dumps({
    "state": "succeeded", "code": "", "message": "", "running_version": None, "current_version": None,
    "detail": detail, "deployment": None, "attempt": int(sys.argv[6]), "verb": sys.argv[1],
}))
"""


@pytest.fixture
async def world(fleet: Fleet) -> LocalWorld:
    return LocalWorld(fleet)


def executor(driver: bytes | None = None, **options: object) -> LocalExecutor:
    return LocalExecutor(**({"driver": driver or driver_source(), "trusted_keys": {}} | options))


async def ask(world: LocalWorld, executor: LocalExecutor, *, host: Host | None = None) -> HostReport:
    async with asyncio.timeout(LIMIT_S):
        return await executor.run(world.command(Order(host=host or world.host(), verb=HostVerb.DOWNLOAD)))


async def installed(world: LocalWorld) -> Host:
    host = world.host()
    for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL):
        assert (await world.run(Order(host=host, verb=verb))).state is HostState.SUCCEEDED
    return host


async def test_the_host_sees_none_of_our_secrets(world: LocalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the controller's environment a host gets what finds a supervisor, and nothing else; no input either."""
    monkeypatch.setenv("ROLLWAVE_DATABASE_URL", "secret")

    detail = (await ask(world, executor(TELLING_DRIVER))).detail

    assert "ROLLWAVE_DATABASE_URL" not in detail["environment"]
    assert detail["environment"]["PATH"] == os.environ["PATH"]
    assert detail["input"] == ""


async def test_a_signal_to_our_group_does_not_reach_the_host(world: LocalWorld) -> None:
    assert (await ask(world, executor(TELLING_DRIVER))).detail["session"] != os.getsid(0)


async def test_no_more_drivers_run_at_once_than_allowed(world: LocalWorld) -> None:
    host, two_at_once = world.host(), executor(TELLING_DRIVER, parallel=2)

    reports = await asyncio.gather(*(ask(world, two_at_once, host=host) for _ in range(8)))

    assert max(report.detail["active"] for report in reports) == 2


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"driver": b"print('hello')"}, "hello"),
        ({"driver": b"raise SystemExit(3)"}, "exit code 3"),
        ({"driver": b"import os; os.abort()"}, "exit code -6"),
        ({"interpreter": "/nonexistent/python"}, "cannot be started"),
        (
            {"driver": b"import signal; signal.pause()", "patience": Patience(slot_wait_s=0.1, answer_s=0.2)},
            "did not answer",
        ),
    ],
)
async def test_a_driver_that_gives_no_answer_is_unknown(
    world: LocalWorld, options: dict[str, object], fact: str
) -> None:
    with pytest.raises(HostUnknownError) as caught:
        await ask(world, executor(**options))

    assert fact in f"{caught.value} {caught.value.facts}"


def tampered_driver(host: Host) -> str:
    (driver,) = Path(host.deploy_path, ".rollwave", "drivers").iterdir()
    driver.write_bytes(driver.read_bytes() + b"\n")
    return driver.name


async def test_a_tampered_driver_is_a_refusal_for_run_and_unknown_for_status(world: LocalWorld) -> None:
    """Nothing runs; and what an earlier command did cannot be read until somebody has looked."""
    host = world.host()
    order = Order(host=host, verb=HostVerb.DOWNLOAD)
    await world.run(order)
    driver = tampered_driver(host)

    report = await world.run(order)
    assert (report.state, report.code) == (HostState.FAILED, "host.file_changed")
    with pytest.raises(HostUnknownError, match=driver):
        await world.status(order)


async def test_a_package_of_a_stranger_is_refused_by_the_host(world: LocalWorld) -> None:
    """The host trusts what the executor was given, not what the controller's store took in."""
    report = await ask(world, executor())

    assert (report.state, report.code) == (HostState.FAILED, "package.unknown_key")


def put_in_the_way(host: Host) -> None:
    Path(host.deploy_path).write_text("not a directory")


async def test_a_deploy_path_that_cannot_be_made_is_a_failure_of_its_own_kind(world: LocalWorld) -> None:
    """At once, and not unreachable: the server is there, and nobody need try again before somebody has looked."""
    host = world.host()
    put_in_the_way(host)

    report = await world.run(Order(host=host, verb=HostVerb.DOWNLOAD))

    assert (report.state, report.code) == (HostState.FAILED, "host.io_error")
    assert host.deploy_path in report.message


async def test_a_verb_that_takes_long_leaves_its_place_to_others(world: LocalWorld) -> None:
    """With one place in all, a verify that waits for its app does not keep the other hosts waiting."""
    public = world._fleet.key.public
    world.executor = executor(
        trusted_keys={public.key_id: public.pem}, parallel=1, patience=Patience(slot_wait_s=0.1, poll_s=0.05)
    )
    slow, other = await installed(world), world.host()
    world.hold(slow)
    caller = asyncio.create_task(world.run(Order(host=slow, verb=HostVerb.VERIFY)))
    await world.at_work(Order(host=slow, verb=HostVerb.VERIFY))

    await world.serve(other, "1.0")

    assert not caller.done()
    world.release(slow)
    assert (await caller).state is HostState.SUCCEEDED


def descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


def children() -> set[str]:
    tasks = Path("/proc/self/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}


async def test_a_cancelled_call_leaves_nothing_behind_here(world: LocalWorld) -> None:
    """No process of ours, no descriptor, however often callers give up."""
    host = await installed(world)
    world.hold(host)
    verify = Order(host=host, verb=HostVerb.VERIFY)
    await world.status(verify)  # whatever is opened once is open by now
    before = descriptors(), children()

    for _ in range(3):
        caller = asyncio.create_task(world.run(verify))
        await world.at_work(verify)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    assert (descriptors(), children()) == before
    world.release(host)
    assert (await world.settled(verify)).state is HostState.SUCCEEDED


CALLER = """
import asyncio, pickle, sys
from rollwave.executors.local import LocalExecutor
from rollwave.host import driver_source
with open(sys.argv[1], "rb") as file:
    command, trusted_keys = pickle.load(file)
asyncio.run(LocalExecutor(driver=driver_source(), trusted_keys=trusted_keys).run(command))
"""


async def test_a_controller_that_is_killed_does_not_stop_the_verb(world: LocalWorld, tmp_path: Path) -> None:
    """SIGKILL to the controller's whole process group, as a closed terminal or a service manager does it."""
    host = await installed(world)
    world.hold(host)
    verify = Order(host=host, verb=HostVerb.VERIFY)
    public = world._fleet.key.public
    (tmp_path / "command").write_bytes(pickle.dumps((world.command(verify), {public.key_id: public.pem})))
    controller = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CALLER, tmp_path / "command", start_new_session=True
    )
    await world.at_work(verify)

    os.killpg(controller.pid, signal.SIGKILL)
    await controller.wait()

    assert (await world.status(verify)).state is HostState.RUNNING
    world.release(host)
    assert (await world.settled(verify)).state is HostState.SUCCEEDED


async def test_the_drain_file_comes_and_goes(world: LocalWorld) -> None:
    """Idempotent in both directions, also on a host that nothing was released to yet."""
    host, ours = world.host(), executor()

    def is_there() -> bool:
        return Path(host.deploy_path, "shared", "drain").exists()

    for drained in (False, False, True, True, False, False):
        await ours.set_drain(host, drained=drained)
        assert await ours.is_drained(host) is is_there() is drained

    world.take_down(host)
    with pytest.raises(HostUnreachableError):
        await ours.set_drain(host, drained=True)
    with pytest.raises(HostUnreachableError):
        await ours.is_drained(host)
