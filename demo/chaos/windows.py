"""When the harness had taken what away: only what failed in such a window, and because of it, is excused."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HAPROXY: Final = "haproxy"
DEATH: Final = "death of a host"
"""The moment itself, some milliseconds of the longer time in which that host is away."""


@dataclass
class Window:
    """A time, in Unix seconds; open while *until* is None."""

    since: float
    until: float | None = None

    def overlaps(self, since: float, until: float) -> bool:
        """Say whether some of it lies between the two times."""
        return since <= (self.until or time.time()) and self.since <= until


class Windows:
    """By what was taken away: `HAPROXY`, the name of a host, or `DEATH`."""

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
