"""The newest frames of a release: whoever was cut off gets those he missed, or is told to begin anew."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.web.json_text import encode

if TYPE_CHECKING:
    from rollwave.web.live.reading import Advance, Picture

FRAMES: Final = 300
"""So many are kept: half a minute of a release that never rests."""

RESET: Final = b"event: reset\ndata: {}\n\n"
"""Tells a page to fetch a snapshot, and to follow from there."""


class Frame(Struct, frozen=True, kw_only=True):
    """
    What is sent at once, the same bytes to everybody.

    Attributes:
        seq: Number of the newest event in it.
        text: One or more server-sent events.
    """

    seq: int
    text: bytes


class Reel:
    """
    The cells of one release, and the frames that brought them there.

    States are absolute: a frame that comes twice, or late, is put right by those after it. So a page that knows a
    picture of any event, and gets every frame that ends after it, in order, knows what we know.

    Args:
        picture: Where it begins.
        frames: How many are kept.
    """

    def __init__(self, picture: Picture, *, frames: int = FRAMES) -> None:
        self.seq = picture.seq
        self.is_over = picture.is_over
        self.cells = bytearray(picture.cells)
        self._first = picture.seq
        self._frames: deque[Frame] = deque(maxlen=frames)

    def add(self, advance: Advance) -> Frame | None:
        """Take over what happened; return the frame that says so, None where nothing did."""
        is_end = advance.is_over and not self.is_over
        self.is_over = advance.is_over
        if advance.seq == self.seq and not is_end:
            return None
        for place, cell in advance.changes:
            self.cells[place] = cell
        frame = Frame(seq=advance.seq, text=event_of(advance))
        if len(self._frames) == self._frames.maxlen:
            self._first = self._frames[0].seq
        self._frames.append(frame)
        self.seq = advance.seq
        return frame

    def since(self, seq: int) -> list[Frame] | None:
        """Return the frames that somebody has missed who knows everything up to *seq*; None: too many."""
        if seq < self._first:
            return None
        return [frame for frame in self._frames if frame.seq > seq]


def event_of(advance: Advance) -> bytes:
    """Return the event that tells cells: place, state, place, state, and so on. Its id is the number to go on from."""
    flat = [number for change in advance.changes for number in change]
    return b"id: %d\nevent: cells\ndata: %s\n\n" % (advance.seq, encode(flat))
