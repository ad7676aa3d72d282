"""One open stream: what it has still to be sent."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from rollwave.web.live.reel import RESET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WAITING: Final = 50
"""Most frames that wait for a slow reader, five seconds of a busy release; then it is told to begin anew."""


class Viewer:
    """
    A queue of bytes with an end and a bound. To be used from one event loop.

    Args:
        waiting: How many pieces may wait.
    """

    def __init__(self, *, waiting: int = WAITING) -> None:
        self._waiting: deque[bytes] = deque()
        self._limit = waiting
        self._news = asyncio.Event()
        self._is_ended = False

    def give(self, text: bytes) -> None:
        """Have *text* sent; drop everything and say `RESET` where too much waits already."""
        if self._is_ended:
            return
        if len(self._waiting) >= self._limit:
            self._waiting.clear()
            self.end(RESET)
            return
        self._waiting.append(text)
        self._news.set()

    def end(self, text: bytes = b"") -> None:
        """Have *text* sent as the last that this stream says."""
        if not self._is_ended:
            self._waiting.append(text)
            self._is_ended = True
            self._news.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what is given, all that waits at once, until the end."""
        while self._waiting or not self._is_ended:
            await self._news.wait()
            self._news.clear()
            text = b"".join(self._waiting)
            self._waiting.clear()
            yield text
