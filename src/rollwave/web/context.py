"""The wiring, where request handlers find it: Django calls them with a request and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.web.bell import Bell

if TYPE_CHECKING:
    from rollwave.bootstrap import Rollwave

bell = Bell()
"""Rings with every commit of this process."""

_installed: list[Rollwave] = []


def install(rollwave: Rollwave) -> None:
    """Let every handler of this process use *rollwave*."""
    _installed[:] = [rollwave]
    rollwave.store.listeners.append(bell.ring)


def services() -> Rollwave:
    """Return what was installed; IndexError, a bug, before that."""
    return _installed[0]
