"""A broker that does not answer is told: in the log, and to whoever counts."""

from __future__ import annotations

import asyncio

import structlog
from kombu.exceptions import OperationalError
from structlog.testing import capture_logs

from rollwave.ports.telemetry import NoTelemetry, Part
from rollwave.queue.celery import CeleryQueue
from rollwave.queue.embedded import EmbeddedQueue
from rollwave.system import SystemClock


class Dead:
    """An application whose broker refuses."""

    def send_task(self, *_args, **_named) -> None:
        raise OperationalError("connection refused")


class Heard(NoTelemetry):
    def __init__(self) -> None:
        self.parts: list[Part] = []

    def failed(self, part: Part) -> None:
        self.parts.append(part)


def test_each_message_that_is_not_sent_is_counted_and_logged():
    """The line names deployment and slice; the slice runs here."""
    structlog.reset_defaults()
    heard, ran = Heard(), []

    async def run(key) -> None:
        ran.append(key)

    async def story() -> None:
        queue = CeleryQueue(Dead(), own=EmbeddedQueue(run), room=1, clock=SystemClock(), telemetry=heard)
        await queue.send((7, 2))
        await asyncio.sleep(0)
        await queue.close()

    with capture_logs() as lines:
        asyncio.run(story())

    assert heard.parts == [Part.BROKER]
    (line,) = lines
    assert (line["event"], line["deployment"], line["slice"]) == ("broker_unreachable", 7, 2)
    assert line["reason"] == "connection refused"
    assert ran == [(7, 2)]
