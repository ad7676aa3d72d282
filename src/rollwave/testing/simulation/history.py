"""What happened in a world, in order: the trace that a person reads, and the hash that proves a replay."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT: Final = 40
"""How many of the last events are shown when a law is broken."""


class Violation(AssertionError):  # noqa: N818  # it is the law's name for it
    """
    A law is broken.

    Attributes:
        law: Its name, for example ``I4``.
    """

    def __init__(self, law: str, message: str) -> None:
        super().__init__(law, message)
        self.law = law

    def __str__(self) -> str:
        """Return law and message."""
        return ": ".join(self.args)


class History:
    """
    Collects events.

    Args:
        now: Virtual time in seconds.
        show: Called with every event as a line, at once.
    """

    def __init__(self, now: Callable[[], float], *, show: Callable[[str], None] | None = None) -> None:
        self._now = now
        self._show = show
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[str] = deque(maxlen=KEPT)
        self.count = 0

    def add(self, actor: str, what: object) -> None:
        """Note that *actor* did *what*."""
        line = f"{self._now():10.3f}  {actor:<18} {what}"
        self._hash.update(line.encode())
        self._last.append(line)
        self.count += 1
        if self._show is not None:
            self._show(line)

    @property
    def last(self) -> tuple[str, ...]:
        """The last events as lines."""
        return tuple(self._last)

    @property
    def digest(self) -> str:
        """Hash over all events."""
        return self._hash.hexdigest()
