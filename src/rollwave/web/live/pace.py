"""How fast a release goes, by what it has done lately; the time in which nothing was to be done does not count."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOW_S: Final = 120.0
"""How far back it looks, in seconds of work."""

LEAST: Final = 3
"""From fewer targets nothing is concluded."""


class Pace:
    """
    Targets settled over seconds of work.

    Args:
        earlier: What was settled before, oldest first: how many seconds ago, and how many targets.
    """

    def __init__(self, earlier: Iterable[tuple[float, int]] = ()) -> None:
        (began_s, _), *rest = [*earlier] or [(0.0, 0)]
        # The first only says when it began: how long those took is not known.
        self._settled = sum(count for _, count in rest)
        self._worked_s = began_s
        self._seen_at: float | None = None
        self._marks: deque[tuple[float, int]] = deque([(0.0, 0)])

    def note(self, now_s: float, *, settled: int, is_working: bool) -> None:
        """Note that *settled* more targets are settled at *now_s*, of any clock; *is_working*: some were in flight."""
        if self._seen_at is not None and (is_working or settled):
            self._worked_s += now_s - self._seen_at
        self._seen_at = now_s
        self._settled += settled
        self._marks.append((self._worked_s, self._settled))
        while len(self._marks) > 1 and self._marks[0][0] < self._worked_s - WINDOW_S:
            self._marks.popleft()

    @property
    def per_minute(self) -> float | None:
        """Targets a minute; None where too few were seen."""
        began_s, before = self._marks[0]
        settled, worked_s = self._settled - before, self._worked_s - began_s
        return settled / worked_s * 60 if settled >= LEAST and worked_s > 0 else None

    def seconds_for(self, count: int) -> float | None:
        """Return how long *count* more take at this pace; None where there is none yet."""
        per_minute = self.per_minute
        return None if per_minute is None else count / per_minute * 60
