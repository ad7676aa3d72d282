"""
Watching a release until it is over.

Events say that something happened; what is shown is always what the API answers then. So a picture is never folded
together from half a log, and a lost event costs nothing but a moment.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from rollwave.cli.errors import may_pass
from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rollwave.cli.feed import Event

_T = TypeVar("_T")
_T_contra = TypeVar("_T_contra", contravariant=True)

_PAUSE_S: Final = 0.25
"""At least so long between two readings; longer where a reading takes long."""

_SHARE: Final = 4
"""Of the time, at most one part in so many is spent on reading: a large fleet is read less often."""


class Screen(Protocol[_T_contra]):
    """Who shows it."""

    def event(self, event: Event) -> None:
        """Something happened."""
        ...

    def picture(self, picture: _T_contra) -> None:
        """So it stands now."""
        ...


def watch(
    read: Callable[[], _T],
    events: Iterator[Event],
    screen: Screen[_T],
    *,
    is_done: Callable[[_T], bool],
    timeout_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> _T:
    """
    Show what *read* answers, again after every event, until it is done; return the last answer.

    Args:
        read: Reads what is watched.
        events: Says when to read again; read in a thread of its own. Its end ends the watch.
        screen: Who shows it.
        is_done: Whether there is nothing more to wait for.
        timeout_s: After so many seconds, return what there is then; None for no limit.
        clock: Seconds, only ever rising.

    Raises:
        RollwaveError: What *read* and *events* raise.
    """
    deadline = None if timeout_s is None else clock() + timeout_s
    arrivals = _Arrivals(events)
    picture = read()
    screen.picture(picture)
    is_stale, next_read_at = False, clock()
    while not is_done(picture) and not (arrivals.is_over and not is_stale):
        wake_at = [next_read_at] if is_stale else []
        wake_at += [] if deadline is None else [deadline]
        for event in arrivals.take(max(0.0, min(wake_at) - clock()) if wake_at else None):
            screen.event(event)
            is_stale = True
        began_at = clock()
        is_late = deadline is not None and began_at >= deadline
        # The end of the log is news as well: what was read before it may lack the last step.
        if arrivals.is_over or is_late or (is_stale and began_at >= next_read_at):
            try:
                picture = read()
            except RollwaveError as error:
                # While a server restarts, the events wait longer than a reading does; they say when it is lost.
                if arrivals.is_over or is_late or not may_pass(error):
                    raise
            else:
                is_stale = False
                screen.picture(picture)
            next_read_at = clock() + max(_PAUSE_S, (clock() - began_at) * _SHARE)
        if is_late:
            break
    return picture


class _Arrivals:
    """Events as they come, with a wait that ends: an iterator over a connection cannot be waited for with a limit."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.is_over = False
        self._events = events
        self._queue: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        # A daemon: it may sit in a read when a person has seen enough.
        threading.Thread(target=self._read, name="rollwave-events", daemon=True).start()

    def take(self, wait_s: float | None) -> list[Event]:
        """
        Return what has come, waiting for the first up to *wait_s*, None for as long as it takes.

        Raises:
            BaseException: What the iterator raised.
        """
        taken: list[Event] = []
        try:
            while True:
                arrival = self._queue.get(timeout=wait_s) if not taken else self._queue.get_nowait()
                if isinstance(arrival, BaseException):
                    if not taken:
                        raise arrival
                    # What came before it is told first; nothing comes after it.
                    self._queue.put(arrival)
                    return taken
                if arrival is None:
                    self.is_over = True
                    return taken
                taken.append(arrival)
        except queue.Empty:
            return taken

    def _read(self) -> None:
        try:
            for event in self._events:
                self._queue.put(event)
        except BaseException as error:  # noqa: BLE001  # it is raised again where somebody can hear it
            self._queue.put(error)
        else:
            self._queue.put(None)
