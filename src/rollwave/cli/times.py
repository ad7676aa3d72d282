"""Durations and moments, in the few characters that a table has for them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

_BYTES: Final = MappingProxyType({"kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000})


def now() -> datetime:
    """Return the time of this machine, UTC."""
    return datetime.now(UTC)  # noqa: TID251  # the edge: a screen shows how long ago things were


def parse_time(text: str) -> datetime:
    """Return the moment that an API document names."""
    return datetime.fromisoformat(text)


def format_duration(seconds: float) -> str:
    """Return *seconds* as ``8s``, ``3m 05s``, ``2h 14m`` or ``5d 3h``; never negative."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3_600}h {whole % 3_600 // 60:02}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3_600}h"


def format_age(moment: datetime, *, at: datetime) -> str:
    """Return how long before *at* something was: ``now``, ``8s ago``, ``3m ago``, ``2h ago``, ``5d ago``."""
    whole = int((at - moment).total_seconds())
    if whole < 1:
        return "now"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit} ago"
    return f"{whole}s ago"


def format_size(size: int) -> str:
    """Return bytes as ``812 B``, ``4.1 kB``, ``18.0 MB`` or ``1.2 GB``."""
    if size < 1_000:
        return f"{size} B"
    unit = next((unit for unit in ("kB", "MB") if size < _BYTES[unit] * 999.95), "GB")
    return f"{size / _BYTES[unit]:.1f} {unit}"
