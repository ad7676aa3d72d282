"""Laws of the queue over a broker: a slice gets to somebody, whatever becomes of the broker."""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import UTC, datetime, timedelta

import pytest
from kombu.exceptions import OperationalError

from demo.processes import free_ports
from rollwave.queue.celery import EXPIRES_S, QUEUE, QUIET_S, BrokerState, CeleryQueue, make_app, register
from rollwave.queue.embedded import EmbeddedQueue

KEY = (7, 3)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class StillClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Scene:
    """A process with a queue, and what runs in it."""

    def __init__(self, url: str, *, room: int = 2) -> None:
        self.app = make_app(url)
        self.clock = StillClock()
        self.ran: list[tuple[int, int]] = []
        self.let_go = asyncio.Event()
        self.own = EmbeddedQueue(self._run)
        self.queue = CeleryQueue(self.app, own=self.own, room=room, clock=self.clock)

    async def _run(self, key: tuple[int, int]) -> None:
        self.ran.append(key)
        await self.let_go.wait()

    async def send(self, *keys: tuple[int, int]) -> None:
        for key in keys:
            await self.queue.send(key)
        # What runs here begins with the loop's next turn.
        await asyncio.sleep(0)

    def messages(self) -> list[list[int]]:
        """What waits at the broker."""
        with self.app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
            return [list(queue.get_nowait().payload[0]) for _ in range(queue.qsize())]


@pytest.fixture
def nowhere() -> str:
    """The address of a broker that is down."""
    (port,) = free_ports(1)
    return f"redis://127.0.0.1:{port}/0"


def play(url: str, story, **named) -> Scene:
    async def run() -> Scene:
        scene = Scene(url, **named)
        await story(scene)
        scene.let_go.set()
        await scene.queue.close()
        return scene

    return asyncio.run(run())


def test_a_slice_goes_out_as_a_message(memory_broker):
    """And nothing of it happens here."""

    async def story(scene: Scene) -> None:
        await scene.send(KEY)
        assert scene.messages() == [list(KEY)]

    assert play(memory_broker, story).ran == []


def test_what_nobody_took_runs_here(memory_broker):
    """A slice that is sent again was brought to nobody: a broker that is frozen, or workers that are gone."""

    async def story(scene: Scene) -> None:
        await scene.send(KEY, KEY)

    assert play(memory_broker, story).ran == [KEY]


def test_what_was_sent_long_ago_is_sent_like_new(memory_broker):
    """It had its time."""

    async def story(scene: Scene) -> None:
        await scene.send(KEY)
        scene.clock.pass_s(EXPIRES_S + 1)
        await scene.send(KEY)

    assert play(memory_broker, story).ran == []


def test_a_broker_that_is_down_costs_no_slice(nowhere):
    """It runs here, and the next ones do not even ask."""

    async def story(scene: Scene) -> None:
        await scene.send((1, 1), (1, 2))

    assert play(nowhere, story).ran == [(1, 1), (1, 2)]


def test_an_error_that_comes_after_the_answer_was_given_up_is_no_bug(monkeypatch, memory_broker):
    """The slice runs here by then; nobody is to hear of the error as of one that was forgotten."""
    monkeypatch.setattr("rollwave.queue.celery.ANSWER_S", 0.01)
    given_up, forgotten = threading.Event(), []

    def send_task(*arguments: object, **named: object) -> None:
        given_up.wait(10)
        raise OperationalError("timed out")

    async def story(scene: Scene) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: forgotten.append(context))
        monkeypatch.setattr(scene.app, "send_task", send_task)
        await scene.send(KEY)
        given_up.set()
        await asyncio.wait([scene.queue._publishing])
        scene.queue._publishing = None
        gc.collect()

    assert play(memory_broker, story).ran == [KEY]
    assert forgotten == []


def test_there_is_room_for_some(nowhere):
    """The others are sent again by the pump, for as long as it takes."""

    async def story(scene: Scene) -> None:
        await scene.send((1, 1), (1, 2), (1, 3))
        assert scene.ran == [(1, 1), (1, 2)]
        scene.let_go.set()
        await asyncio.gather(*scene.own._running)
        await scene.send((1, 3))

    assert play(nowhere, story).ran == [(1, 1), (1, 2), (1, 3)]


def test_a_broker_that_comes_back_is_asked_again(nowhere, memory_broker):
    """After a while, and not for each slice before."""

    async def story(scene: Scene) -> None:
        await scene.send((1, 1))
        scene.queue._app = make_app(memory_broker)
        await scene.send((1, 2))
        scene.clock.pass_s(QUIET_S)
        await scene.send((1, 3))

    assert play(nowhere, story).ran == [(1, 1), (1, 2)]


def test_a_message_calls_the_worker(memory_broker):
    """With the slice's key, and nothing else."""
    app, ran = make_app(memory_broker), []

    register(app, ran.append)
    app.tasks["rollwave.slice"](*KEY)

    assert ran == [KEY]


def test_messages_are_hints():
    """Acknowledged as they are taken, kept nowhere, answered by nothing."""
    conf = make_app("amqp://").conf

    assert conf.task_default_delivery_mode == "transient"
    assert (conf.task_acks_late, conf.task_ignore_result, conf.result_backend) == (False, True, None)


def test_redis_delivers_nothing_again_while_a_slice_may_run():
    """Its default would be an hour as well, but here it is said."""
    assert make_app("redis://127.0.0.1/0").conf.broker_transport_options["visibility_timeout"] >= 3600


def test_how_a_broker_is_can_be_asked_without_waiting(nowhere):
    """The answer is the last one that was found."""
    clock = StillClock()
    state = BrokerState(make_app(nowhere), clock=clock)

    assert state.read() == "not looked at yet"

    with state._looking:
        assert "refused" in state.read()
