"""Every law runs in every world; a balancer that is not installed is a failure, nginx outside CI a reason to skip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.balancer.worlds import open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.contract.balancer.worlds import World

KINDS = ("fake", "caddy", "haproxy", "haproxies", "nginx", "http", "drain_file_haproxy", "drain_file_caddy")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Four members in traffic."""
    async with open_world(request.param, home=tmp_path, count=4) as world:
        yield world


@pytest.fixture(params=KINDS)
async def wide_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Thirty members in traffic."""
    async with open_world(request.param, home=tmp_path, count=30) as world:
        yield world
