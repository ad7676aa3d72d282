"""What a person typed, or a program sent, as a value."""

from __future__ import annotations


def number(text: str, *, digits: int = 9) -> int | None:
    """Return *text* as a whole number from 0; None where it is none, or has more than *digits*: Python refuses some."""
    given = text.strip()
    return int(given) if given.isdecimal() and len(given) <= digits else None
