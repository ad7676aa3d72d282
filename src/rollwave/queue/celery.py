"""
Celery: slices to whichever worker is free, over RabbitMQ or Redis.

The database holds the truth, so Celery is asked for as little as it can do: carry a slice's key to one of many
processes. No results, no retries, no times, no chains; a message is acknowledged as it is taken.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery import Celery

from rollwave.ports.telemetry import UNHEARD, Part

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rollwave.ports.clock import Clock
    from rollwave.ports.store import SliceKey
    from rollwave.ports.telemetry import Telemetry
    from rollwave.queue.embedded import EmbeddedQueue

log = structlog.get_logger()

TASK: Final = "rollwave.slice"
QUEUE: Final = "rollwave"

ANSWER_S: Final = 4
"""How long the broker may take, in seconds; longer, and this process takes the slice itself."""

QUIET_S: Final = 5
"""How long a broker that did not answer is left alone, in seconds."""

EXPIRES_S: Final = 60
"""After this long nobody wants a message any more, in seconds: what it says was said again meanwhile."""


def make_app(url: str) -> Celery:
    """Return the application that workers and senders share, over the broker at *url*."""
    app = Celery("rollwave", broker=url, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        # A message is a hint: it need not outlive the broker.
        task_default_delivery_mode="transient",
        task_ignore_result=True,
        task_acks_late=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # A broker that is away is waited for: the same process takes slices without it.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=ANSWER_S,
        broker_heartbeat=10,
        broker_transport_options=_options(url),
        accept_content=["json"],
    )
    return app


def _options(url: str) -> dict[str, Any]:
    # Who sends does not try again: it has something better to do.
    options: dict[str, Any] = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    if url.startswith("redis"):
        # Longer than any slice waits: what is not acknowledged within it, Redis delivers again.
        waits = {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S, "health_check_interval": 5}
        return {**options, **waits, "socket_keepalive": True, "visibility_timeout": 3600}
    return {**options, "read_timeout": ANSWER_S, "write_timeout": ANSWER_S, "confirm_publish": True}


class BrokerState:
    """
    How a broker is, as last seen; looked at anew, in the background, once that is old.

    Args:
        app: Knows the broker.
        clock: Time.
    """

    def __init__(self, app: Celery, *, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._state = "not looked at yet"
        self._good_until = clock.now()
        self._looking = threading.Lock()

    def read(self) -> str:
        """Return "ok", or what is wrong; does not wait."""
        if self._clock.now() >= self._good_until and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, name="rollwave-broker-state", daemon=True).start()
        return self._state

    def _look(self) -> None:
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=ANSWER_S)
            self._state = "ok"
        except Exception as error:  # noqa: BLE001  # see `_publish`; the answer is told to whoever asks
            self._state = _reason(error)
        finally:
            self._good_until = self._clock.now() + timedelta(seconds=QUIET_S)
            self._looking.release()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class CeleryQueue:
    """
    Sends slices through a broker. A worker runs itself what the broker does not bring to anybody.

    Args:
        app: Knows the broker.
        own: Runs slices in this process: where the broker does not answer, and where nobody took what was sent before.
        room: Most slices that run here so.
        clock: Time.
        telemetry: Hears of a broker that does not answer.
    """

    def __init__(
        self, app: Celery, *, own: EmbeddedQueue, room: int, clock: Clock, telemetry: Telemetry = UNHEARD
    ) -> None:
        self._telemetry = telemetry
        self._app = app
        self._own = own
        self._room = room
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollwave-broker")
        self._publishing: asyncio.Future[object] | None = None
        self._quiet_until = clock.now()
        self._sent: dict[SliceKey, datetime] = {}

    async def send(self, key: SliceKey) -> None:
        """Ask some worker to run a slice; this one, where that was asked before or cannot be asked."""
        now = self._clock.now()
        was_sent = self._note(key, now)
        has_room = self._own.running_count < self._room
        if (has_room and (was_sent or now < self._quiet_until)) or (not await self._publish(key) and has_room):
            await self._own.send(key)

    def _note(self, key: SliceKey, now: datetime) -> bool:
        """Note that a slice is sent; return whether it was before: it is sent again only because nobody took it."""
        forgotten = now - timedelta(seconds=EXPIRES_S)
        self._sent = {one: at for one, at in self._sent.items() if at > forgotten}
        was_sent = key in self._sent
        self._sent[key] = now
        return was_sent

    async def _publish(self, key: SliceKey) -> bool:
        if self._publishing is not None and not self._publishing.done():
            # The broker keeps the thread waiting.
            return False
        call = partial(self._app.send_task, TASK, args=key, expires=EXPIRES_S)
        self._publishing = asyncio.get_running_loop().run_in_executor(self._thread, call)
        # An error that comes after we gave up waiting is nobody's: without this, asyncio reports it as forgotten.
        self._publishing.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(ANSWER_S):
                await asyncio.shield(self._publishing)
        except Exception as error:  # noqa: BLE001
            # Each library under Kombu has errors of its own (a user without rights, an exchange that is another kind),
            # and Kombu passes many of them on as they are. Whatever it was: nothing but speed depends on a message.
            log.warning("broker_unreachable", deployment=key[0], slice=key[1], reason=_reason(error))
            self._telemetry.failed(Part.BROKER)
            self._quiet_until = self._clock.now() + timedelta(seconds=QUIET_S)
            return False
        return True

    async def close(self) -> None:
        """Cancel what runs here; others go on from the records."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        await self._own.close()


def register(app: Celery, run: Callable[[SliceKey], object]) -> None:
    """Let workers of *app* call *run* with every slice that comes, in one of their threads, until it returns."""

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def run_slice(deployment_id: int, number: int) -> None:
        run((deployment_id, number))
