"""
The broadcaster's own thread and event loop: what it reads, puts into words and sends takes no turn from the releases.

What it writes goes through the one writer of the process, in its turn: a few short transactions for each message.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import structlog
from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollwave.engine.broadcaster import Broadcaster
    from rollwave.engine.offload import Offload
    from rollwave.system import StoreThreads

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()

PATIENCE_S: Final = 20.0
"""How long a stop waits for an end, in seconds: then the process ends with the thread in it."""


class _Apart:
    """`Offload` that writes by one set of threads and reads by another."""

    def __init__(self, *, writes: StoreThreads, reads: StoreThreads) -> None:
        self._writes = writes
        self._reads = reads

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the turn of all that write."""
        return await self._writes(function, *args, **kwargs)

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run beside everybody else."""
        return await self._reads.read(function, *args, **kwargs)


class BroadcastThread:
    """
    Runs a broadcaster.

    Args:
        make: Makes it, once the thread runs.
        writes: The threads of the engine.
        reads: Threads of its own.
    """

    def __init__(self, make: Callable[[Offload], Broadcaster], *, writes: StoreThreads, reads: StoreThreads) -> None:
        self._make = make
        self._offload = _Apart(writes=writes, reads=reads)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._runs = threading.Event()

    def start(self) -> None:
        """Start; return at once."""
        # A daemon: a channel that hangs in a call of the system must not keep the process from ending.
        self._thread = threading.Thread(target=self._main, name="rollwave-notify", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for the end: a message that is on its way is sent again by whoever comes next."""
        if self._thread is None:
            return
        self._runs.wait(PATIENCE_S)
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE_S)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("broadcaster_broke")
        finally:
            self._runs.set()

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._runs.set()
        try:
            await self._make(self._offload).run()
        finally:
            await self._offload.read(_disconnect)


def _disconnect() -> None:
    # Which connection it is depends on the thread that looks.
    connection.close()
