"""Every law runs in every world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.executor.fake_world import FakeWorld
from tests.contract.executor.local_world import Fleet, LocalWorld, open_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.executor.world import World


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with open_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture(params=["fake", "local"])
async def world(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        return FakeWorld()
    return LocalWorld(request.getfixturevalue("fleet"))
