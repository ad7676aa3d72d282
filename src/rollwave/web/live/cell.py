"""A target as one byte: all that a cell of the grid can show."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from rollwave.domain.model import Progress, Stage, Standing

if TYPE_CHECKING:
    from rollwave.domain.model import Target


class Cell(IntEnum):
    """What a target is doing. The numbers are the protocol's: pages that are open know them."""

    PENDING = 0
    MARKDOWN = 1
    DOWNLOAD = 2
    INSTALL = 3
    VERIFY = 4
    MARKUP = 5
    VERIFIED = 6
    """A canary that waits, out of traffic, to be baked."""
    DONE = 7
    FAILED = 8
    RESTORED = 9
    """It failed, and serves the previous version again."""
    RETRY = 10
    """In its second attempt or a later one, or about to be."""
    UNREACHABLE = 11
    """The stage that it is in has not been answered."""
    LEFT = 12


IN_FLIGHT: Final = frozenset(
    {Cell.MARKDOWN, Cell.DOWNLOAD, Cell.INSTALL, Cell.VERIFY, Cell.MARKUP, Cell.RETRY, Cell.UNREACHABLE}
)
"""A worker drives it, or will at once."""

OUT: Final = IN_FLIGHT | {Cell.VERIFIED, Cell.FAILED}
"""The release has it out of traffic."""

FAILURES: Final = frozenset({Cell.FAILED, Cell.RESTORED})
"""What the brake counts."""

REST: Final = IN_FLIGHT | {Cell.PENDING, Cell.VERIFIED}
"""Work that is still to be done."""

_BY_STANDING: Final = {
    Standing.PENDING: Cell.PENDING,
    Standing.VERIFIED: Cell.VERIFIED,
    Standing.SUCCESS: Cell.DONE,
    Standing.FAILED: Cell.FAILED,
    Standing.LEFT: Cell.LEFT,
}

_BY_STAGE: Final = {
    None: Cell.MARKDOWN,
    Stage.MARKDOWN: Cell.MARKDOWN,
    Stage.DOWNLOAD: Cell.DOWNLOAD,
    Stage.INSTALL: Cell.INSTALL,
    Stage.VERIFY: Cell.VERIFY,
    Stage.PROVE: Cell.VERIFY,
    Stage.MARKUP: Cell.MARKUP,
    Stage.RESTORE: Cell.FAILED,
}


def cell_of(target: Target) -> Cell:
    """Return what *target* looks like."""
    if target.standing is Standing.IN_FLIGHT:
        if target.failure is not None:
            return Cell.FAILED
        if target.progress is Progress.UNKNOWN:
            return Cell.UNREACHABLE
        return Cell.RETRY if target.attempt > 1 else _BY_STAGE[target.stage]
    if target.standing is Standing.PENDING and target.attempt > 1:
        return Cell.RETRY
    if target.standing is Standing.FAILED and target.restored:
        return Cell.RESTORED
    return _BY_STANDING[target.standing]
