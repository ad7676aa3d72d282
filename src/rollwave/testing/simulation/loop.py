"""An event loop in which time is a number and a process can be stopped between any two steps."""

from __future__ import annotations

import asyncio
import heapq
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

Ts = TypeVarTuple("Ts")

EPOCH: Final = datetime(2030, 1, 1, 12, tzinfo=UTC)
"""When every simulation begins."""

_TURNS: ContextVar[Turns | None] = ContextVar("turns", default=None)


class Turns:
    """
    Whether the tasks of one simulated process get turns.

    A frozen process is one that gets none for a while, a crashed process one that never gets any again: so a crash may
    come between any two steps, and no clean-up code runs that a real crash would not run.
    """

    def __init__(self) -> None:
        self.is_stopped = False
        self.parked: list[asyncio.Handle] = []
        self.context: Context = copy_context()
        self.context.run(_TURNS.set, self)


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready, then jumps to the next timer. No file descriptors, no threads, no real time."""

    _ready: Any

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        # Tuples, because handles compare in Python; numbered, so that what is due at the same time runs in its order.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = count()
        numbers = count()
        self.set_task_factory(lambda loop, coro, **kwargs: _Task(loop, coro, number=next(numbers), **kwargs))

    def time(self) -> float:
        """Return the virtual time in seconds since the beginning."""
        return self._seconds

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Have *callback* called at a time of this loop."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._timer_numbers), handle))
        return handle

    def resume(self, turns: Turns) -> None:
        """Give a stopped process its turns back: what became ready meanwhile runs now, in its order."""
        turns.is_stopped = False
        self._ready.extend(turns.parked)
        turns.parked.clear()

    def _run_once(self) -> None:
        timers, ready = self._timers, self._ready
        if not ready:
            if not timers:
                raise RuntimeError("nothing is left that could ever happen")
            self._seconds = max(self._seconds, timers[0][0])
        while timers and timers[0][0] <= self._seconds:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            turns = handle._context.get(_TURNS)  # noqa: SLF001  # the loop owns its handles
            if turns is not None and turns.is_stopped:
                turns.parked.append(handle)
            else:
                handle._run()  # noqa: SLF001  # the loop owns its handles

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A canceled timer stays in the heap until its time comes; there are never many."""

    def _write_to_self(self) -> None:
        """Nobody waits in a selector that would have to be woken."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address, so that every run is the same."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], *, number: int, **kwargs: Any
    ) -> None:
        self._number = number
        super().__init__(coro, loop=loop, **kwargs)

    def __hash__(self) -> int:
        return self._number


class SimClock:
    """
    The clock of one process.

    Args:
        loop: Where time comes from.
        skew_s: How far this clock is ahead of the true time, in seconds.
    """

    def __init__(self, loop: VirtualLoop, *, skew_s: float = 0.0) -> None:
        self._loop = loop
        self._epoch = EPOCH + timedelta(seconds=skew_s)

    def now(self) -> datetime:
        """Return the time as this process sees it."""
        return self._epoch + timedelta(seconds=self._loop.time())

    async def sleep(self, seconds: float) -> None:
        """Wait; what it costs is one timer."""
        await asyncio.sleep(seconds)
