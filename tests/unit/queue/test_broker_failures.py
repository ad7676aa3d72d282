"""A broker that does not answer is told: in the log, and to whoever counts."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import structlog
from amqp.exceptions import AccessRefused, InternalError, MessageNacked, NotAllowed, PreconditionFailed
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError
from structlog.testing import capture_logs

from rollwave.ports.telemetry import NoTelemetry, Part
from rollwave.queue.celery import QUIET_S, BrokerState, CeleryQueue
from rollwave.queue.embedded import EmbeddedQueue
from rollwave.system import SystemClock

REFUSALS = [
    (OperationalError("connection refused"), "connection refused"),
    (OSError(), "OSError"),
    (AccessRefused("no rights"), "no rights"),
    (NotAllowed("no such vhost"), "no such vhost"),
    (InternalError("out of memory"), "out of memory"),
    (PreconditionFailed("another kind of queue"), "another kind of queue"),
    (MessageNacked(), "MessageNacked"),
    (AuthenticationError("wrong password"), "wrong password"),
]
"""What Kombu wraps, and what it passes on as its libraries raise it; what the log says of it."""


class Dead:
    """An application whose broker refuses."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def send_task(self, *_args, **_named) -> None:
        raise self._error

    def connection_for_write(self):
        raise self._error


class Heard(NoTelemetry):
    def __init__(self) -> None:
        self.parts: list[Part] = []

    def failed(self, part: Part) -> None:
        self.parts.append(part)


@pytest.mark.parametrize(("error", "told"), REFUSALS, ids=[type(error).__name__ for error, _ in REFUSALS])
def test_each_message_that_is_not_sent_is_counted_and_logged(error, told):
    """The line names deployment and slice; the slice runs here."""
    structlog.reset_defaults()
    heard, ran = Heard(), []

    async def run(key) -> None:
        ran.append(key)

    async def story() -> None:
        queue = CeleryQueue(Dead(error), own=EmbeddedQueue(run), room=1, clock=SystemClock(), telemetry=heard)
        await queue.send((7, 2))
        await asyncio.sleep(0)
        await queue.close()

    with capture_logs() as lines:
        asyncio.run(story())

    assert heard.parts == [Part.BROKER]
    (line,) = lines
    assert (line["event"], line["deployment"], line["slice"]) == ("broker_unreachable", 7, 2)
    assert told in line["reason"]
    assert ran == [(7, 2)]


class Moving:
    """Time that is set."""

    def __init__(self) -> None:
        self.at = SystemClock().now()

    def now(self):
        return self.at


@pytest.mark.parametrize(("error", "told"), REFUSALS, ids=[type(error).__name__ for error, _ in REFUSALS])
def test_a_broker_that_refuses_is_not_called_well(error, told):
    """Neither at first nor once it was well, and it is looked at again."""
    clock = Moving()
    state = BrokerState(Dead(error), clock=clock)
    state._state = "ok"

    for _ in range(2):
        state._looking.acquire()
        state._look()
        assert told in state.read()
        clock.at += timedelta(seconds=2 * QUIET_S)
