"""How a slice that a process drove has ended."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final

from rollwave.domain.errors import FencedError

DONE: Final = "done"
LEASE_LOST: Final = "lease_lost"
"""Another worker has it, or may have it: this one heard nothing for longer than its lease."""
STOPPED: Final = "stopped"
"""The process was told to stop."""
BROKE: Final = "broke"
"""By an error that is in the log; whoever claims it next goes on."""

OUTCOMES: Final = (DONE, LEASE_LOST, STOPPED, BROKE)


def outcome_of(error: BaseException) -> str:
    """Return how a slice ended whose work was ended by *error*, alone or in a group."""
    if isinstance(error, FencedError):
        return LEASE_LOST
    if isinstance(error, BaseExceptionGroup) and error.subgroup(FencedError) is not None:
        return LEASE_LOST
    return STOPPED if isinstance(error, CancelledError) else BROKE
