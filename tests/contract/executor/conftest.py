"""Every law runs in every world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.executor.fake_world import FakeWorld
from tests.contract.executor.local_world import Fleet, LocalWorld, open_fleet
from tests.contract.executor.salt_world import SaltWorld, open_salt
from tests.contract.executor.ssh_world import Servers, SshWorld, open_servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from demo.salt import SaltLab
    from tests.contract.executor.world import World


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with open_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def salt() -> Iterator[SaltLab]:
    with open_salt() as lab:
        yield lab


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with open_servers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture
async def ssh_world(fleet: Fleet, servers: Servers) -> AsyncIterator[SshWorld]:
    world = SshWorld(fleet, servers)
    yield world
    await world.close()


@pytest.fixture(params=["fake", "local", "ssh", "salt"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
    elif request.param == "local":
        yield LocalWorld(request.getfixturevalue("fleet"))
    else:
        kind, carrier = {"ssh": (SshWorld, "servers"), "salt": (SaltWorld, "salt")}[request.param]
        world = kind(request.getfixturevalue("fleet"), request.getfixturevalue(carrier))
        yield world
        await world.close()
