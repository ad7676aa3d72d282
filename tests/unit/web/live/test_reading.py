"""What is read of the log is what the rows say: for any play, any pace of reading, and two processes at once."""

from __future__ import annotations

import asyncio

import pytest
from django.db import connection

from rollwave.domain import commands as cmd
from rollwave.domain.config import DeploymentConfig
from rollwave.store.models import Deployment
from rollwave.system import StoreThreads
from rollwave.web.bell import Bell
from rollwave.web.live import feed as feed_module
from rollwave.web.live import reading
from rollwave.web.live.cell import IN_FLIGHT, Cell, cell_of
from rollwave.web.live.feed import Feed
from rollwave.web.live.feeds import Log
from tests.stage import FULL, UNWELL, Play, make_group
from tests.unit.web.live.test_reel import Page

CONFIG = DeploymentConfig(prestage=False, max_unavailable_percent=20, canary_count=2)


@pytest.fixture
def play(django_database) -> Play:
    return Play("shop-prod", make_group("shop-prod", 30), config=CONFIG)


def scenes(play: Play):
    """Yield after everything that happens in a release with failures, silence, a brake and a retry."""
    yield play.finish()
    yield play.act(cmd.Bake)
    yield play.finish()
    yield play.act(cmd.RollOut)
    for failure in (UNWELL, FULL, UNWELL, FULL, UNWELL, FULL):
        for _ in range(3):
            yield play.step(4)
        flying = sorted(play.flying())
        if flying:
            yield play.unanswered(flying[:1])
            yield play.advance(flying[:1], {flying[0]: failure})
    yield play.until(29)
    yield play.act(cmd.Retry)
    yield play.finish()


def truth(play: Play) -> bytes:
    state = play.releases.store.load(play.id).state
    return bytes(cell_of(target) for target in state.targets.values())


@pytest.mark.parametrize("every", [1, 3, 1000])
def test_changes_bring_an_old_picture_to_what_a_new_one_shows(play, every):
    seen: set[int] = set()
    picture = reading.picture(play.id)
    cells, seq = bytearray(picture.cells), picture.seq
    for number, _ in enumerate(scenes(play)):
        if number % every == 0:
            advance = reading.advance(play.id, seq)
            seq = advance.seq
            for place, cell in advance.changes:
                cells[place] = cell
            seen |= set(cells)
            assert bytes(cells) == truth(play)
    for place, cell in reading.advance(play.id, seq).changes:
        cells[place] = cell

    assert bytes(cells) == truth(play) == reading.picture(play.id).cells
    assert set(cells) == {Cell.DONE}
    if every == 1:
        assert seen >= {Cell.PENDING, Cell.VERIFIED, Cell.FAILED, Cell.UNREACHABLE, Cell.RETRY, Cell.DONE}
        assert seen & IN_FLIGHT


def test_the_end_of_a_release_is_told(play):
    for _ in scenes(play):
        assert not reading.advance(play.id, 0).is_over or Deployment.objects.get(id=play.id).phase == "success"

    assert reading.advance(play.id, 0).is_over


def test_too_many_events_and_events_of_another_life_are_not_told_one_by_one(play, monkeypatch):
    monkeypatch.setattr(reading, "GAP", 3)

    assert reading.advance(play.id, 0) is None
    assert reading.advance(play.id, 10_000) is None


def test_two_processes_serve_one_release_to_one_page(play, monkeypatch):
    """The page is cut off from one process now and then, and goes on at the other, with the number it has."""
    monkeypatch.setattr(feed_module, "INTERVAL_S", 0)
    monkeypatch.setattr(feed_module, "POLL_S", 0.01)
    picture = reading.picture(play.id)
    page = Page(seq=picture.seq, cells=bytearray(picture.cells))

    threads = StoreThreads(after=lambda: connection.close())  # noqa: PLW0108  # what it is depends on who asks

    class Rollwave:
        offload = threads
        store = play.releases.store
        clock = play.clock

    async def newest() -> int:
        return (await threads.read(reading.standing, play.id))[0]

    async def run() -> None:
        stopping = asyncio.Event()
        feeds = [Feed(Log(play.id, Rollwave()), bell=Bell(), stopping=stopping) for _ in range(2)]
        plot = scenes(play)
        number = 0
        while await threads(next, plot, "over") != "over":
            number += 1
            if number % 3 == 0:
                async for text in feeds[number // 3 % 2].follow(page.seq):
                    page.take(text)
                    if page.seq >= await newest():
                        break
        async for text in feeds[0].follow(page.seq):
            page.take(text)
        stopping.set()

    asyncio.run(asyncio.wait_for(run(), timeout=60))
    threads.close()

    assert bytes(page.cells) == truth(play)
    assert page.seq == reading.standing(play.id)[0]
