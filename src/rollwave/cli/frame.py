"""The room that a picture has, and what is known beside the release."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rich.text import Text

    from rollwave.cli.stopwatch import Lap

_WRAPPER: Final = Console(file=io.StringIO())
"""Rich wraps words only for a console; this one never prints."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """
    The room that there is, and what is known beside the release.

    Attributes:
        at: Now.
        width: Cells of a line.
        height: Lines, None for as many as it takes.
        is_ascii: Whether the terminal has no Unicode.
        laps: Times of the targets by instance, as far as they are known.
    """

    at: datetime
    width: int = 100
    height: int | None = None
    is_ascii: bool = False
    laps: Mapping[str, Lap] = field(default_factory=dict)


def wrapped(text: Text, width: int) -> list[Text]:
    """Return *text* as lines of at most *width* cells, broken between words."""
    return list(text.wrap(_WRAPPER, width))
