"""The queue: carries hints to workers. A message may be lost, doubled or late; nothing but speed depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rollwave.ports.store import SliceKey


class Queue(Protocol):
    """Sends slices to whoever works."""

    async def send(self, key: SliceKey) -> None:
        """Ask some worker to claim and run a slice."""
        ...

    async def close(self) -> None:
        """End what runs in this process; others go on from the records. Nothing is sent after it."""
        ...
