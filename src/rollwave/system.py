"""The real clock and real threads."""

from __future__ import annotations

import asyncio
import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

SWITCH_S: Final = 0.0003
"""How long a thread may keep the interpreter's lock from another, in seconds."""

GC_THRESHOLD: Final = 50_000
"""How many objects more than before make the collector look at the young ones."""


def tune_interpreter() -> None:
    """
    Set what the interpreter's defaults get wrong for a process that drives thousands of targets; call it once started.

    The event loop and the writer thread pass the interpreter's lock to and fro thousands of times a second; by default
    each of them may keep the other waiting for 5 ms. The collector by default walks through everything a release holds
    again and again, and there is next to nothing to collect. Measured: a third, and a sixth less time for a large
    release.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)


class SystemClock:
    """`Clock` by the machine's own time."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)  # noqa: TID251  # this is the one adapter that may read the clock

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class StoreThreads:
    """
    `Offload` to two threads of its own: one that writes, one that reads beside it.

    One writer, whatever the database: callers queue here, in order and without polling for a lock, and what many of
    them want written becomes one transaction. Each thread keeps its connection.

    Args:
        before: Called in the thread before every call: puts right what broke since the last one.
        after: Called in each thread as the last thing it does: closes what it kept open.
    """

    def __init__(
        self, *, before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None
    ) -> None:
        self._before = before
        self._after = after
        self.is_open = True
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollwave-writer")
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollwave-reader")

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what *function* returns, raise what it raises."""
        return await self._run(self._writer, function, *args, **kwargs)

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the same for one that writes nothing: it does not queue behind what is being written."""
        return await self._run(self._reader, function, *args, **kwargs)

    def close(self) -> None:
        """Let what was begun end, and each thread close what it kept open; nothing new can begin."""
        self.is_open = False
        for thread in (self._writer, self._reader):
            thread.submit(self._after)
            thread.shutdown(wait=True)

    async def _run(self, thread: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def call() -> T:
            if not self.is_open:
                raise asyncio.CancelledError
            self._before()
            return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(thread, call)
