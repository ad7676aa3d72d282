"""Grouping of membership changes: those that arrive together are written together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rollwave.ports.clock import Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One member's wanted membership."""

    dial: str
    present: bool


C = TypeVar("C")


@dataclass(eq=False, slots=True)
class _Pending(Generic[C]):
    """A change that waits for a write, and how that write went."""

    change: C
    is_written: bool = False
    error: RollwaveError | None = None


class PoolWriter(Generic[C]):
    """
    Writes the changes of one pool (or of all that is written as a whole) one write at a time.

    A write carries every change that waits when it begins.

    Args:
        write: Brings a list of changes about, in their order, or raises.
        clock: Waiting.
        gather_s: How long a write waits for more changes before it begins, in seconds.
    """

    def __init__(self, write: Callable[[Sequence[C]], Awaitable[None]], *, clock: Clock, gather_s: float) -> None:
        self._write = write
        self._clock = clock
        self._gather_s = gather_s
        self._turn = asyncio.Lock()
        self._waiting: list[_Pending[C]] = []

    async def put(self, change: C) -> None:
        """Return once a write that carried *change* is done; raise what that write raised."""
        mine = _Pending(change)
        self._waiting.append(mine)
        try:
            async with self._turn:
                # Whoever comes first writes for all who wait behind it.
                if not mine.is_written:
                    await self._clock.sleep(self._gather_s)
                    await self._write_waiting()
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        if mine.error is not None:
            raise type(mine.error)(mine.error.message, **mine.error.facts) from mine.error

    async def _write_waiting(self) -> None:
        # What is cancelled here stays in line: the next in turn carries the others' changes.
        batch = tuple(self._waiting)
        error: RollwaveError | None = None
        try:
            await self._write([pending.change for pending in batch])
        except RollwaveError as failure:
            error = failure
        for pending in batch:
            pending.is_written, pending.error = True, error
        self._waiting = [pending for pending in self._waiting if not pending.is_written]
