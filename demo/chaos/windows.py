"""When the harness had taken what away: only what happened in such a window, and because of it, is excused."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Window:
    """A time, in Unix seconds; open while *until* is None."""

    since: float
    until: float | None = None

    def overlaps(self, since: float, until: float) -> bool:
        """Say whether some of it lies between the two times."""
        return since <= (self.until or time.time()) and self.since <= until


def forgetful(edge: str) -> str:
    """Return the name of the times in which an HAProxy, once killed, does not know yet who is out of traffic."""
    return f"memory of {edge}"


class Windows:
    """By what was taken away: the name of an HAProxy, what it knows (`forgetful`), or the name of a host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, list[Window]] = defaultdict(list)

    @contextmanager
    def open(self, name: str) -> Iterator[None]:
        """Say that *name* is away inside the block; the block ends once it is back."""
        window = Window(since=time.time())
        with self._lock:
            self._windows[name].append(window)
        try:
            yield
        finally:
            window.until = time.time()

    def overlap(self, name: str, since: float, until: float) -> bool:
        """Say whether *name* was away at any moment between the two times."""
        with self._lock:
            return any(window.overlaps(since, until) for window in self._windows[name])
