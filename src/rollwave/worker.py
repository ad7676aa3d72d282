"""
A worker: a Celery worker that runs slices, and the pump and the reconciler of its process.

Celery has the main thread and a pool of threads, in each of which one message waits until its slice is done. All the
work is done by coroutines on one event loop in a thread of its own, as in the embedded set-up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvloop

from rollwave.queue.embedded import EmbeddedQueue
from rollwave.system import tune_interpreter
from rollwave.web import logs
from rollwave.web.data_dir import DataDir
from rollwave.web.setup import require_distributed, require_schema, set_up_django

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rollwave.bootstrap import Rollwave
    from rollwave.ports.store import SliceKey

log = structlog.get_logger()

CONCURRENCY: Final = 32
"""How many slices a worker takes at a time. They wait for hosts most of the time, and share one event loop."""


def work(data_dir: Path, *, concurrency: int = CONCURRENCY, wire: Callable[..., Rollwave] | None = None) -> int:
    """
    Run until SIGTERM or SIGINT; give back what is in hand, and return the exit code. Being killed costs a lease.

    Args:
        data_dir: Holds settings and keys; packages as well, where no other place is configured.
        concurrency: How many slices it takes at a time.
        wire: Instead of `rollwave.bootstrap.build`, for tests.

    Raises:
        SetUpInvalidError: If the settings name no database or no broker.
        SchemaNotCurrentError: If the database does not answer, or was not migrated.
        SettingsInvalidError: If the settings file cannot be used.
    """
    place = DataDir(data_dir)
    settings = require_distributed(place, broker=True)
    logs.configure(settings.log)
    set_up_django(place)
    require_schema()
    # Models can be imported only now.
    from celery import signals  # noqa: PLC0415

    from rollwave.bootstrap import build  # noqa: PLC0415
    from rollwave.queue.celery import QUIET_S, make_app, register  # noqa: PLC0415

    assert settings.broker.url is not None
    app = make_app(settings.broker.url)
    engine = EngineThread((wire or build)(place.path, celery=app, room=concurrency))
    register(app, engine.run_slice)
    # Sent by Celery's own handler of SIGTERM, before it waits for its threads: they end because their slices do.
    signals.worker_shutting_down.connect(lambda **_: engine.stop(), weak=False)
    tune_interpreter()
    engine.start()
    while True:
        worker = app.Worker(
            pool="threads",
            concurrency=concurrency,
            hostname=f"rollwave-{os.getpid()}@{socket.gethostname()}",
            loglevel=settings.log.level.upper(),
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        if not worker.exitcode or engine.is_stopping:
            break
        # A broker that refuses us (a password that has changed, no such vhost) ends Celery, which waits only for one
        # that is away. It is no more to us than that: slices are taken without it, and it may think again.
        log.warning("broker_refused", again_s=QUIET_S)
        if engine.ends_within(QUIET_S):
            break
    engine.stop()
    engine.join()
    log.info("stopped")
    # Once it was told to stop, what Celery had to say of its broker is no failure of ours.
    return 1 if engine.broke else 0


class EngineThread:
    """
    The engine on an event loop in a thread of its own.

    Args:
        rollwave: What runs.
    """

    def __init__(self, rollwave: Rollwave) -> None:
        self._rollwave = rollwave
        self._thread = threading.Thread(target=self._main, name="rollwave-engine")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runs = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._slices = EmbeddedQueue(rollwave.engine.run_slice)
        self.broke = False

    def start(self) -> None:
        """Start; return once slices can be run."""
        self._thread.start()
        self._runs.wait()

    def stop(self) -> None:
        """Stop soon; from any thread, also from a signal handler."""
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        """Wait until everything has stopped."""
        self._thread.join()

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end; return whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def run_slice(self, key: SliceKey) -> None:
        """Run one slice to its end; blocks. Returns at once where another has it, and soon once all is to stop."""
        assert self._loop is not None
        try:
            asyncio.run_coroutine_threadsafe(self._slices.run(key), self._loop).result()
        except (CancelledError, RuntimeError):
            if not self.is_stopping:
                raise

    @property
    def is_stopping(self) -> bool:
        """Whether it has been told to stop, or has stopped."""
        return self._loop is None or self._loop.is_closed() or (self._stopping is not None and self._stopping.is_set())

    def _main(self) -> None:
        try:
            uvloop.run(self._run())
        except Exception:
            log.exception("engine_broke")
            self.broke = True
        finally:
            self._rollwave.offload.close()
            self._runs.set()
            if self.broke:
                # A supervisor starts the process again; others go on meanwhile.
                os.kill(os.getpid(), signal.SIGTERM)

    async def _run(self) -> None:
        from rollwave.supervision import supervised  # noqa: PLC0415  # needs the settings

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        with supervised(self._rollwave, loop=self._loop):
            engine = asyncio.create_task(self._rollwave.run_engine(), name="engine")
            stopping = asyncio.create_task(self._stopping.wait())
            self._runs.set()
            sys.stdout.write(f"Rollwave worker {os.getpid()} is ready\n")
            sys.stdout.flush()
            await asyncio.wait([engine, stopping], return_when=asyncio.FIRST_COMPLETED)
            await _end(engine, stopping)
            await self._slices.close()
            await self._rollwave.give_back()
            if engine.done() and not engine.cancelled():
                engine.result()


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
