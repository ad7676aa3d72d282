"""The feeds of this process, one for each release that somebody watches; and where they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.web.live import reading
from rollwave.web.live.feed import Feed
from rollwave.web.live.figures import ground_of
from rollwave.web.live.pace import WINDOW_S, Pace

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.bootstrap import Rollwave
    from rollwave.ports.store import Loaded
    from rollwave.web.bell import Bell
    from rollwave.web.live.figures import Ground
    from rollwave.web.live.reading import Advance, Picture


class Log:
    """
    `Source` for one release: the database, read by the process's one reading thread.

    Args:
        deployment_id: The release.
        rollwave: Whose store it is in.
    """

    def __init__(self, deployment_id: int, rollwave: Rollwave) -> None:
        self._id = deployment_id
        self._rollwave = rollwave
        self._loaded: Loaded | None = None

    async def picture(self) -> Picture:
        """Return all cells."""
        return await self._rollwave.offload.read(reading.picture, self._id)

    async def advance(self, since: int) -> Advance | None:
        """Return what happened after an event."""
        return await self._rollwave.offload.read(reading.advance, self._id, since)

    async def ground(self) -> Ground:
        """Return what figures take from the whole state."""
        return await self._rollwave.offload.read(self._ground)

    async def pace(self) -> Pace:
        """Return how fast it went until now."""
        return await self._rollwave.offload.read(self._pace, self._rollwave.clock.now())

    def _ground(self) -> Ground:
        self._loaded = self._rollwave.store.load(self._id, cached=self._loaded)
        return ground_of(self._loaded.state)

    def _pace(self, now: datetime) -> Pace:
        return Pace(reading.settled_before(self._id, now, window_s=WINDOW_S))


class Feeds:
    """The feeds that run. To be used from the event loop of the server."""

    def __init__(self) -> None:
        self._feeds: dict[int, Feed] = {}

    def of(self, deployment_id: int, *, rollwave: Rollwave, bell: Bell) -> Feed:
        """Return the feed of a release, which begins if there is none."""
        feed = self._feeds.get(deployment_id)
        if feed is None:

            def forget() -> None:
                if self._feeds.get(deployment_id) is feed:
                    del self._feeds[deployment_id]

            feed = Feed(Log(deployment_id, rollwave), bell=bell, stopping=rollwave.stopping, on_end=forget)
            self._feeds[deployment_id] = feed
        return feed
