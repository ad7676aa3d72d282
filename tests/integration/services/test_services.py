"""
The services that a distributed set-up runs on: each starts, serves, comes back after its death, and leaves nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import amqp
import psycopg
import pytest
import redis

from demo.processes import LabError, processes_of
from demo.services import SERVICES, Postgres, RabbitMQ, Redis, Service
from tests.needs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: pytest closes it to all but ourselves, and PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="rw-") as name:
        yield Path(name)


@pytest.fixture(params=SERVICES)
def service(request, folder: Path) -> Service:
    kind = SERVICES[request.param]
    needs(kind)
    return kind(folder / request.param)


def write(service: Service) -> None:
    """Leave something in the service, or fail."""
    match service:
        case Postgres():
            with psycopg.connect(service.url) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS written (at timestamptz DEFAULT now())")
                connection.execute("INSERT INTO written DEFAULT VALUES")
        case RabbitMQ():
            with amqp.Connection(f"127.0.0.1:{service.port}") as connection:
                channel = connection.channel()
                channel.queue_declare("written", durable=True, auto_delete=False)
                message = amqp.Message("written", delivery_mode=2)
                channel.basic_publish_confirm(message, routing_key="written")
        case Redis():
            with redis.Redis.from_url(service.url) as client:
                client.rpush("written", "written")


def read(service: Service) -> int:
    """Return how many times something was left."""
    match service:
        case Postgres():
            with psycopg.connect(service.url) as connection:
                return connection.execute("SELECT count(*) FROM written").fetchone()[0]
        case RabbitMQ():
            with amqp.Connection(f"127.0.0.1:{service.port}") as connection:
                return connection.channel().queue_declare("written", passive=True).message_count
        case Redis():
            with redis.Redis.from_url(service.url) as client:
                return client.llen("written")
    raise NotImplementedError


def test_a_service_serves_from_its_start_and_leaves_nothing_behind(service: Service, folder: Path) -> None:
    """It can be used at once; after its end no process of it is left."""
    with service:
        write(service)
        assert read(service) == 1
        assert processes_of(folder)

    assert not processes_of(folder)


def test_a_service_comes_back_where_it_was(service: Service) -> None:
    """Killed or stopped, it starts again on the same port; what is durable there is still in it."""
    with service:
        url = service.url
        write(service)
        service.kill()
        service.start()
        assert service.url == url
        write(service)
        service.stop()
        service.start()
        write(service)
        # Redis keeps nothing here. RabbitMQ writes a new queue down a moment later: a kill may take it along.
        assert read(service) in {Postgres: {3}, RabbitMQ: {2, 3}, Redis: {1}}[type(service)]


def test_what_is_killed_is_gone_at_once(service: Service, folder: Path) -> None:
    """When `kill` has returned, no process is left, not even one that a service keeps apart from its own."""
    with service:
        service.kill()
        assert not processes_of(folder)


def test_a_paused_service_answers_nobody_and_goes_on_afterwards(service: Service) -> None:
    """While it stands still its port takes connections and no more; then it knows all that it knew."""
    with service:
        write(service)
        service.pause()
        assert not service._answers()
        service.resume()
        assert read(service) == 1
        service.pause()  # the end of the block stops it all the same


def test_an_error_inside_stops_it_too(service: Service, folder: Path) -> None:
    """However a block is left, its service is stopped."""

    def fail() -> None:
        with service:
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not processes_of(folder)


def test_one_that_cannot_start_says_why_and_leaves_nothing(folder: Path) -> None:
    """The error carries the end of the log."""
    needs(Postgres)
    (folder / "postgres" / "data").mkdir(parents=True)

    with pytest.raises(LabError, match="postgres"):
        Postgres(folder / "postgres").start()
    assert not processes_of(folder)
