from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.store.worlds import DjangoWorld, MemoryWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.store.worlds import World


@pytest.fixture(params=["memory", "django"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A store with nothing in it; what a test did to its deployments is checked against their logs in the end (I21)."""
    if request.param == "memory":
        world: World = MemoryWorld()
    else:
        request.getfixturevalue("django_database")
        world = DjangoWorld()
    yield world
    world.check_logs()


@pytest.fixture
def django_world(django_database) -> Iterator[DjangoWorld]:
    """The same on a real database, for laws about threads."""
    world = DjangoWorld()
    yield world
    world.check_logs()
