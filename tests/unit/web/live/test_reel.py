"""Whatever a page misses, gets twice or loses, it ends with what a fresh snapshot would tell it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from rollwave.web.live.cell import Cell
from rollwave.web.live.reading import Advance, Picture
from rollwave.web.live.reel import Reel, event_of

TARGETS = 5
FRAMES = 3
"""Kept by the reel, so few that pages lose what they missed."""


@dataclass
class World:
    """A release: every event gives one target another state."""

    cells: list[int] = field(default_factory=lambda: [Cell.PENDING] * TARGETS)
    log: list[int] = field(default_factory=list)

    @property
    def seq(self) -> int:
        return len(self.log)

    def happen(self, place: int, cell: Cell) -> None:
        self.cells[place] = cell
        self.log.append(place)

    def picture(self, *, known: int | None = None) -> Picture:
        # A snapshot may have been numbered before the newest of its cells.
        seq = self.seq if known is None else known
        return Picture(seq=seq, cells=bytes(self.cells), batches=(1,) * TARGETS, is_over=False)

    def advance(self, since: int) -> Advance:
        changed = sorted(set(self.log[since:]))
        return Advance(seq=self.seq, changes=tuple((place, self.cells[place]) for place in changed))


@dataclass
class Page:
    """The fold of the browser, `live/model.js`, in Python."""

    seq: int
    cells: bytearray

    def take(self, text: bytes) -> None:
        for event in text.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.splitlines())
            if fields.get("event") == "cells":
                flat = json.loads(fields["data"])
                for place, cell in zip(flat[::2], flat[1::2], strict=True):
                    self.cells[place] = cell
                self.seq = max(self.seq, int(fields["id"]))


def snapshot_of(reel: Reel) -> Page:
    return Page(seq=reel.seq, cells=bytearray(reel.cells))


changes = st.tuples(st.just("happen"), st.integers(0, TARGETS - 1), st.sampled_from(Cell))
steps = st.lists(
    st.one_of(
        changes,
        st.tuples(st.just("look"), st.integers(0, 1)),
        st.tuples(st.just("connect"), st.integers(0, 1), st.booleans()),
        st.just(("cut",)),
        st.tuples(st.just("old snapshot"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(steps=steps)
def test_a_page_ends_with_the_truth_through_cuts_replays_and_two_servers(steps):
    """Two processes read the same log at their own pace; the page is served now by one and then by the other."""
    world = World()
    reels = [Reel(world.picture(), frames=FRAMES), Reel(world.picture(), frames=FRAMES)]
    page = snapshot_of(reels[0])
    served_by: Reel | None = None
    for step in steps:
        match step:
            case ("happen", place, cell):
                world.happen(place, cell)
            case ("look", number):
                frame = reels[number].add(world.advance(reels[number].seq))
                if frame and reels[number] is served_by:
                    page.take(frame.text)
            case ("connect", number, has_log):
                served_by, page = connected(page, reels[number], world if has_log else None)
            case ("cut",):
                served_by = None
            case ("old snapshot", back):
                # Numbered before, read now: what happened in between comes again.
                known = max(0, world.seq - back)
                page, served_by = Page(seq=known, cells=bytearray(world.cells)), None
    for reel in reels:
        reel.add(world.advance(reel.seq))
    _, page = connected(page, reels[1])

    assert list(page.cells) == world.cells
    assert all(list(reel.cells) == world.cells for reel in reels)


def connected(page: Page, reel: Reel, world: World | None = None) -> tuple[Reel, Page]:
    """Go on from what *page* knows: by the reel's frames, else by the log of *world*, else by a snapshot."""
    missed = reel.since(page.seq)
    if missed is None and world is None:
        return reel, snapshot_of(reel)
    for text in [event_of(world.advance(page.seq))] if missed is None else [frame.text for frame in missed]:
        page.take(text)
    return reel, page


def test_who_missed_more_than_is_kept_begins_anew():
    world = World()
    reel = Reel(world.picture(), frames=FRAMES)
    for _ in range(FRAMES + 1):
        world.happen(0, Cell.VERIFY)
        reel.add(world.advance(reel.seq))

    assert reel.since(0) is None
    assert [frame.seq for frame in reel.since(1)] == [2, 3, 4]


def test_nothing_happened_is_no_frame():
    world = World()
    reel = Reel(world.picture())

    assert reel.add(world.advance(0)) is None
