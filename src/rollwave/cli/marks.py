"""
Marks: a glyph and a word for every state. Color is state and comes on top; nothing is told by color alone.

Every glyph has an ASCII form for terminals that cannot show the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rollwave.domain.model import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """
    How a state looks.

    Attributes:
        glyph: One cell wide.
        ascii: The same for terminals without Unicode.
        style: Color; empty for ink.
    """

    glyph: str
    ascii: str
    style: str

    def shape(self, *, is_ascii: bool) -> str:
        """Return the glyph that the terminal can show."""
        return self.ascii if is_ascii else self.glyph


PENDING: Final = Mark(glyph="·", ascii=".", style="dim")
MOVING: Final = Mark(glyph="◐", ascii=">", style="blue")
WAITING: Final = Mark(glyph="◆", ascii="!", style="yellow")
BRAKED: Final = Mark(glyph="■", ascii="#", style="yellow")
GOOD: Final = Mark(glyph="✓", ascii="+", style="green")
BAD: Final = Mark(glyph="✗", ascii="x", style="red")
UNKNOWN: Final = Mark(glyph="?", ascii="?", style="yellow")
GONE: Final = Mark(glyph="○", ascii="-", style="dim")

BY_STANDING: Final[Mapping[Standing, Mark]] = MappingProxyType(
    {
        Standing.PENDING: PENDING,
        Standing.IN_FLIGHT: MOVING,
        Standing.VERIFIED: WAITING,
        Standing.SUCCESS: GOOD,
        Standing.FAILED: BAD,
        Standing.LEFT: GONE,
    }
)

BY_STATUS: Final[Mapping[str, Mark]] = MappingProxyType(
    {
        "pending": PENDING,
        "running": MOVING,
        "waiting": WAITING,
        "braked": BRAKED,
        "failed": BAD,
        "aborting": BRAKED,
        "aborted": GONE,
        "succeeded": GOOD,
    }
)
"""By the coarse status of a deployment."""


ASCII: Final[Mapping[str, str]] = MappingProxyType(
    {mark.glyph: mark.ascii for mark in (*BY_STANDING.values(), *BY_STATUS.values(), UNKNOWN)} | {"→": ">", "│": "|"}
)
"""What stands for a sign where it cannot be written."""


def mark_of_status(status: str) -> Mark:
    """Return the mark of a coarse status; the unknown mark for a status that a newer server invents."""
    return BY_STATUS.get(status, UNKNOWN)
