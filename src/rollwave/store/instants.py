"""Instants as whole numbers, where a host or a counter wants one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


def unix_us(at: datetime) -> int:
    """Return *at* in microseconds of Unix time, exactly."""
    return (at - _BEGINNING) // timedelta(microseconds=1)


def unix_ms(at: datetime) -> int:
    """Return *at* in milliseconds of Unix time, rounded down."""
    return (at - _BEGINNING) // timedelta(milliseconds=1)
