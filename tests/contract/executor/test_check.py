"""The laws of `rollwave.ports.executor.ChecksHosts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rollwave.ports.executor import ChecksHosts, HostQuestion, HostUnreachableError, Verdict

if TYPE_CHECKING:
    from rollwave.ports.executor import Host
    from tests.contract.executor.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("world", ["fake", "local", "ssh", "salt"], indirect=True)]


def question(world: World, host: Host) -> HostQuestion:
    return HostQuestion(host=host, app="shop", **world.lifecycle(host), health_path="/healthz", free_bytes=1)


def is_there(host: Host) -> bool:
    return Path(host.deploy_path).exists()


async def test_a_server_that_nobody_touched_lacks_nothing(world: World) -> None:
    """It says so of every single thing, only nothing serves yet; its time is its own; and it is left as it was."""
    host = world.host()
    assert isinstance(world.executor, ChecksHosts)

    answer = await world.executor.check(question(world, host))

    verdicts = {one.name: one.verdict for one in answer.findings}
    assert verdicts.pop("health") is Verdict.NOTE
    assert verdicts == dict.fromkeys(("python", "openssl", "zstd", "directory", "disk", "start", "stop"), Verdict.OK)
    assert answer.now == pytest.approx(world.now(), abs=60)
    assert not is_there(host)


async def test_a_server_that_is_down_is_unreachable(world: World) -> None:
    """It is an error of its own kind, and no finding."""
    host = world.host()
    world.take_down(host)
    try:
        with pytest.raises(HostUnreachableError):
            await world.executor.check(question(world, host))
    finally:
        world.bring_back(host)
