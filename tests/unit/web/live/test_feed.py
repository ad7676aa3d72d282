"""One reader of the log for all who watch; the same bytes for each of them, and an end for everything."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from rollwave.web.bell import Bell
from rollwave.web.live import feed as feed_module
from rollwave.web.live.cell import Cell
from rollwave.web.live.feed import END, RETRY, Feed
from rollwave.web.live.figures import Ground
from rollwave.web.live.pace import Pace
from rollwave.web.live.reading import Advance, Picture
from rollwave.web.live.reel import RESET

GROUND = Ground(out_besides=0, failed_besides=0, limit=2, status="running", pauses_s=0)


class Release:
    """A source in memory; counts how often it is read."""

    def __init__(self) -> None:
        self.cells = [Cell.PENDING, Cell.PENDING, Cell.PENDING]
        self.log: list[int] = []
        self.is_over = False
        self.is_too_much = False
        self.reads: Counter[str] = Counter()

    def happen(self, place: int, cell: Cell) -> None:
        self.cells[place] = cell
        self.log.append(place)

    async def picture(self) -> Picture:
        self.reads["picture"] += 1
        return Picture(seq=len(self.log), cells=bytes(self.cells), batches=(1, 2, 2), is_over=self.is_over)

    async def advance(self, since: int) -> Advance | None:
        if self.is_too_much:
            return None
        changes = tuple((place, self.cells[place]) for place in sorted(set(self.log[since:])))
        return Advance(seq=len(self.log), changes=changes, is_over=self.is_over)

    async def ground(self) -> Ground:
        return GROUND

    async def pace(self) -> Pace:
        return Pace()


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nobody waits between frames."""
    monkeypatch.setattr(feed_module, "INTERVAL_S", 0)


async def all_of(feed: Feed, since: int, *, joined: asyncio.Event | None = None) -> list[bytes]:
    pieces = []
    async for piece in feed.follow(since):
        pieces.append(piece)
        if joined and len(pieces) == 2:
            joined.set()
    return pieces


def watch(release: Release, *, happens, viewers: int = 1, since: int = 0) -> list[list[bytes]]:
    """Let *viewers* watch, and things happen once all of them do; return what each was sent."""

    async def run() -> list[list[bytes]]:
        bell = Bell()
        feed = Feed(release, bell=bell, stopping=asyncio.Event())
        joined = [asyncio.Event() for _ in range(viewers)]
        watching = [asyncio.create_task(all_of(feed, since, joined=one)) for one in joined]
        for one in joined:
            await one.wait()
        happens()
        bell.ring()
        return await asyncio.gather(*watching)

    return asyncio.run(asyncio.wait_for(run(), timeout=20))


def test_all_viewers_get_the_same_bytes_of_one_reader():
    release = Release()

    def happens() -> None:
        release.happen(1, Cell.DONE)
        release.is_over = True

    sent = watch(release, viewers=3, happens=happens)

    first = b"".join(sent[0])
    assert all(b"".join(one) == first for one in sent)
    assert first.startswith(RETRY)
    assert b"id: 1\nevent: cells\ndata: [1,7]\n\n" in first
    assert first.endswith(END)
    assert release.reads["picture"] == 1


def test_figures_are_told_on_joining_and_at_the_end():
    release = Release()

    def happens() -> None:
        release.happen(0, Cell.DONE)
        release.happen(1, Cell.INSTALL)
        release.is_over = True

    ((_retry, joined, *rest),) = watch(release, happens=happens)

    assert b'"batches":[[1,0,0,0,0,0,0,0,0,0,0,0,0],[2,0,0,0,0,0,0,0,0,0,0,0,0]],"out":0,"limit":2' in joined
    assert b'"batches":[[0,0,0,0,0,0,0,1,0,0,0,0,0],[1,0,0,1,0,0,0,0,0,0,0,0,0]],"out":1' in b"".join(rest)


def sent_to_one(release: Release) -> list[bytes]:
    async def run() -> list[bytes]:
        return await all_of(Feed(release, bell=Bell(), stopping=asyncio.Event()), 0)

    return asyncio.run(asyncio.wait_for(run(), timeout=20))


def test_what_a_page_missed_before_anybody_watched_is_in_the_log():
    release = Release()
    release.happen(2, Cell.DONE)
    release.is_over = True

    assert b"id: 1\nevent: cells\ndata: [2,7]\n\n" in b"".join(sent_to_one(release))


def test_a_page_that_missed_too_much_is_told_to_begin_anew():
    release = Release()
    release.happen(0, Cell.DONE)
    release.is_too_much = True

    assert sent_to_one(release) == [RETRY, RESET]


def test_too_much_at_once_lets_everybody_begin_anew():
    release = Release()

    def happens() -> None:
        release.is_too_much = True

    (sent,) = watch(release, happens=happens)

    assert sent[-1].endswith(RESET)


def test_what_is_over_says_so_at_once():
    release = Release()
    release.is_over = True

    assert sent_to_one(release)[-1].endswith(END)


def test_a_quiet_stream_says_that_it_is_there(monkeypatch):
    monkeypatch.setattr(feed_module, "HEARTBEAT_S", 0)
    monkeypatch.setattr(feed_module, "POLL_S", 0.01)
    release = Release()

    async def run() -> bytes:
        feed = Feed(release, bell=Bell(), stopping=asyncio.Event())
        said = b""
        async for text in feed.follow(0):
            said += text
            if b": still here" in said:
                break
        return said

    assert asyncio.run(asyncio.wait_for(run(), timeout=20)).endswith(b": still here\n\n")


def test_streams_end_when_the_server_stops():
    release = Release()

    async def run() -> list[bytes]:
        stopping = asyncio.Event()
        feed = Feed(release, bell=Bell(), stopping=stopping)
        joined = asyncio.Event()
        watching = asyncio.create_task(all_of(feed, 0, joined=joined))
        await joined.wait()
        stopping.set()
        return await watching

    assert END not in b"".join(asyncio.run(asyncio.wait_for(run(), timeout=20)))


def test_a_feed_that_nobody_watches_ends(monkeypatch):
    monkeypatch.setattr(feed_module, "LINGER_S", 0)
    release = Release()

    async def run() -> None:
        ended = asyncio.Event()
        feed = Feed(release, bell=Bell(), stopping=asyncio.Event(), on_end=ended.set)
        watching = asyncio.create_task(all_of(feed, 0))
        await asyncio.sleep(0)
        watching.cancel()
        await ended.wait()

    asyncio.run(asyncio.wait_for(run(), timeout=20))


def test_a_source_that_breaks_says_so_to_who_asks():
    class Broken(Release):
        async def picture(self) -> Picture:
            raise LookupError("no such release")

    with pytest.raises(LookupError, match="no such release"):
        sent_to_one(Broken())
