from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.services import Postgres, RabbitMQ, Redis
from tests.contract.queue.world import World
from tests.needs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKERS = {"rabbitmq": RabbitMQ, "redis": Redis}


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    # Not tmp_path: pytest closes it to all but ourselves, and PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="rw-queue-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def postgres(place: Path) -> Iterator[Postgres]:
    needs(Postgres)
    with Postgres(place / "postgres", fsync=False) as postgres:
        yield postgres


@pytest.fixture(scope="module", params=BROKERS)
def world(request, place: Path, postgres: Postgres) -> Iterator[World]:
    kind = BROKERS[request.param]
    needs(kind)
    folder = place / request.param
    folder.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(kind(folder / "broker"))
        database = postgres.create_database(request.param)
        yield stack.enter_context(World(folder, database=database, broker=broker.url))
