"""One read of a balancer that many coroutines share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class SharedRead(Generic[T]):
    """
    Share one expensive read among every coroutine that asks for it while another is under way.

    Each caller gets an answer (or the error) of a read that *began after it asked*, never an older one: who has just
    written sees its own write. A thousand callers cost two reads, not a thousand.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._turn = asyncio.Lock()
        self._begun_count = 0
        self._answered = 0
        self._answer: T | None = None
        self._error: RollwaveError | None = None

    async def get(self) -> T:
        """Return an answer that is no older than this call."""
        begun_before = self._begun_count
        async with self._turn:
            if self._answered <= begun_before:
                await self._refresh()
            if self._error is not None:
                raise type(self._error)(self._error.message, **self._error.facts)
            assert self._answer is not None
            return self._answer

    async def _refresh(self) -> None:
        self._begun_count += 1
        number = self._begun_count
        try:
            self._answer, self._error = await self._read(), None
        except RollwaveError as error:
            # Shared as well: else a thousand waiters would sit out the same timeout one after the other.
            self._error = error
        self._answered = number
