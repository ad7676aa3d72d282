"""What a person typed, as a value."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 9
"""Digits of the longest number that is read: whatever counts here is smaller, and Python refuses thousands of them."""


def number(text: str) -> int | None:
    """Return *text* as a whole number from 0; None where it is none, or has more than nine digits."""
    given = text.strip()
    return int(given) if given.isdecimal() and len(given) <= _LONGEST else None
