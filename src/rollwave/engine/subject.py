"""
What a line of the log is about: the slice, and the target in it, whose coroutine writes it.

Kept as one reference and put into words only where a line is written, so that ten thousand targets cost ten thousand
assignments; and a stage that begins costs nothing.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping


class Subject(Protocol):
    """Something that can be at work."""

    def log_fields(self) -> Mapping[str, object]:
        """Return what tells it from others, as it stands now."""
        ...


_current: ContextVar[Subject | None] = ContextVar("rollwave_subject", default=None)


def about(subject: Subject) -> None:
    """Let every line that this task writes from now on be about *subject*, and those of the tasks that it begins."""
    _current.set(subject)


def add_subject(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add to a line what it is about; what it says itself stands. A processor of structlog."""
    subject = _current.get()
    if subject is not None:
        for name, value in subject.log_fields().items():
            event.setdefault(name, value)
    return event
