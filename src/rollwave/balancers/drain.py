"""Waiting until a member has no request in flight."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollwave.ports.clock import Clock


async def wait_until(is_true: Callable[[], Awaitable[bool]], *, clock: Clock, timeout_s: float, poll_s: float) -> bool:
    """
    Ask *is_true* every *poll_s* until it says yes; asked at least once, and a last time when the time is up.

    Returns:
        True as soon as it said yes; False if it still said no after *timeout_s*.
    """
    deadline = clock.now() + timedelta(seconds=timeout_s)
    while not await is_true():
        left_s = (deadline - clock.now()).total_seconds()
        if left_s <= 0:
            return False
        await clock.sleep(min(poll_s, left_s))
    return True
