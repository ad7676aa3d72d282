"""The live data of one release in this process: one reader of its log, whatever the number of those who watch."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from rollwave.web.json_text import encode
from rollwave.web.live.cell import REST
from rollwave.web.live.figures import Census, figures, is_working
from rollwave.web.live.reel import RESET, Reel, event_of
from rollwave.web.live.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rollwave.web.bell import Bell
    from rollwave.web.live.figures import Ground
    from rollwave.web.live.pace import Pace
    from rollwave.web.live.reading import Advance, Picture

INTERVAL_S: Final = 0.1
"""Between frames: at most ten a second."""

CROWD: Final = 50
"""From so many viewers on there are half as many frames: what a frame costs is its number of readers."""

POLL_S: Final = 0.25
"""How often the log is looked at without a ring: another process may have written."""

FIGURES_S: Final = 0.5
"""Between figures."""

GROUND_S: Final = 5.0
"""How old what figures take from the whole state may be, where nothing says that it has changed."""

HEARTBEAT_S: Final = 15.0
"""After so long without a frame a comment is sent, so that nobody in between takes the stream for dead."""

LINGER_S: Final = 10.0
"""How long it goes on when nobody watches any more: a page that was cut off comes back."""

RETRY: Final = b"retry: 1000\n\n"
END: Final = b"event: end\ndata: {}\n\n"


class Source(Protocol):
    """Where a feed reads; see `rollwave.web.live.reading`."""

    async def picture(self) -> Picture:
        """Return all cells."""
        ...

    async def advance(self, since: int) -> Advance | None:
        """Return what happened after an event; None where that is too much."""
        ...

    async def ground(self) -> Ground:
        """Return what figures take from the whole state."""
        ...

    async def pace(self) -> Pace:
        """Return how fast it went until now."""
        ...


class Feed:
    """
    Reads one release as long as anybody watches, and sends the same bytes to all who do.

    Args:
        source: Where it reads.
        bell: Rings with every commit of this process.
        stopping: Set once the process is told to stop.
        on_end: Called when it reads no more.
    """

    def __init__(
        self, source: Source, *, bell: Bell, stopping: asyncio.Event, on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._source = source
        self._bell = bell
        self._stopping = stopping
        self._on_end = on_end
        self._viewers: set[Viewer] = set()
        self._ready: asyncio.Event = asyncio.Event()
        self._last_figures = b""
        self._stamp = 0
        self._is_ground_old = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="live release")

    async def follow(self, since: int) -> AsyncIterator[bytes]:
        """
        Yield server-sent events for a page that knows everything up to event *since*.

        ``cells`` and ``figures`` as they change, ``reset`` where the page must fetch a snapshot first, ``end`` when
        there can be no other event. After ``reset`` and ``end``, and when the server stops, the stream ends.
        """
        await self._until_ready()
        yield RETRY
        # From now on nothing is missed, while what was missed so far is looked up.
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            missed = await self._missed(since)
            if missed is None:
                yield RESET
                return
            yield missed + self._last_figures
            if self._reel.is_over or self._task.done():
                viewer.end(END if self._reel.is_over else b"")
            async for text in viewer.pieces():
                yield text
        finally:
            self._viewers.discard(viewer)

    async def _missed(self, since: int) -> bytes | None:
        """Return what brings a page from event *since* here: of the last frames, else from the log; None: too much."""
        frames = self._reel.since(since)
        if frames is not None:
            return b"".join(frame.text for frame in frames)
        advance = await self._source.advance(since)
        return None if advance is None else event_of(advance)

    async def _until_ready(self) -> None:
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait((ready, self._task), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ready.is_set():
            # It broke before it had read anything: say why.
            await self._task

    async def _run(self) -> None:
        try:
            await self._begin()
            self._ready.set()
            await self._read_on()
        finally:
            self._on_end()
            for viewer in self._viewers:
                viewer.end()

    async def _begin(self) -> None:
        picture = await self._source.picture()
        self._batches = picture.batches
        self._reel = Reel(picture)
        self._census = Census(picture.cells, picture.batches)
        self._pace = await self._source.pace()
        self._ground = await self._source.ground()
        self._stamp = picture.seq
        now = asyncio.get_running_loop().time()
        self._ground_at = self._figures_at = self._sent_at = self._watched_at = now
        self._last_figures = self._figures()

    async def _read_on(self) -> None:
        loop = asyncio.get_running_loop()
        with self._bell.listening() as rung:
            while not (self._stopping.is_set() or self._reel.is_over or self._is_left()):
                rung.clear()
                began = loop.time()
                if not await self._look(began):
                    self._end(RESET)
                    return
                interval_s = INTERVAL_S * (2 if len(self._viewers) > CROWD else 1)
                await asyncio.sleep(max(0.0, began + interval_s - loop.time()))
                await _ring(rung)
        if self._reel.is_over:
            self._end(END)

    def _end(self, text: bytes) -> None:
        for viewer in self._viewers:
            viewer.end(text)

    def _is_left(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._viewers:
            self._watched_at = now
        return now - self._watched_at > LINGER_S

    async def _look(self, now: float) -> bool:
        """Send what happened; return False where it is too much to be told."""
        advance = await self._source.advance(self._reel.seq)
        if advance is None:
            return False
        text = self._take(advance, now) + await self._newest_figures(now, is_last=advance.is_over)
        if text:
            self._send(text)
        elif now - self._sent_at >= HEARTBEAT_S:
            self._send(b": still here\n\n")
        return True

    def _take(self, advance: Advance, now: float) -> bytes:
        settled = 0
        for place, cell in advance.changes:
            was = self._reel.cells[place]
            self._census.move(place, was, cell)
            settled += (was in REST) - (cell in REST)
        self._pace.note(now, settled=max(0, settled), is_working=is_working(self._census.total))
        if advance.stamp:
            self._stamp, self._is_ground_old = advance.stamp, True
        frame = self._reel.add(advance)
        return frame.text if frame else b""

    async def _newest_figures(self, now: float, *, is_last: bool) -> bytes:
        """Return the event that tells the figures; nothing where it is too early, or they are what they were."""
        if now - self._figures_at < FIGURES_S and not is_last:
            return b""
        self._figures_at = now
        if self._is_ground_old or now - self._ground_at >= GROUND_S:
            self._ground, self._ground_at, self._is_ground_old = await self._source.ground(), now, False
        newest = self._figures()
        if newest == self._last_figures:
            return b""
        self._last_figures = newest
        return newest

    def _figures(self) -> bytes:
        told = encode(figures(self._census, self._ground, self._pace, stamp=self._stamp))
        return b"event: figures\ndata: %s\n\n" % told

    def _send(self, text: bytes) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        for viewer in self._viewers:
            viewer.give(text)


async def _ring(rung: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(POLL_S):
            await rung.wait()
