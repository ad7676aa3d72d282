"""A stream has a bound: a reader that is too slow is told to begin anew, and costs no memory."""

from __future__ import annotations

import asyncio

from rollwave.web.live.reel import RESET
from rollwave.web.live.viewer import Viewer


def read(viewer: Viewer) -> list[bytes]:
    async def all_of_it() -> list[bytes]:
        return [piece async for piece in viewer.pieces()]

    return asyncio.run(all_of_it())


def test_what_waits_is_sent_at_once_and_in_order():
    viewer = Viewer()
    viewer.give(b"a")
    viewer.give(b"b")
    viewer.end(b"c")

    assert read(viewer) == [b"abc"]


def test_too_much_that_waits_becomes_a_reset_and_the_end():
    viewer = Viewer(waiting=2)
    for piece in (b"a", b"b", b"c", b"d"):
        viewer.give(piece)

    assert read(viewer) == [RESET]


def test_nothing_follows_the_end():
    viewer = Viewer()
    viewer.end()
    viewer.give(b"a")
    viewer.end(b"b")

    assert read(viewer) == [b""]
