"""What supervisors ask of a process, whichever it is: is it alive, can it work, how does it go."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import structlog
from django.db import connection
from msgspec import Struct

from rollwave.store import health
from rollwave.store.health import OK
from rollwave.telemetry.serving import serving

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

    from rollwave.bootstrap import Rollwave

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()

LOOP_ANSWERS_S: Final = 5.0
"""After this long without a turn the event loop counts as dead, in seconds: leases run out, so others take over."""


class Readiness(Struct, frozen=True, kw_only=True):
    """
    Whether a process can do its work.

    Attributes:
        checks: What it needs, each `OK` or what is wrong with it.
        notes: What it can do without for a while; the same.
    """

    checks: Mapping[str, str]
    notes: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        """Whether nothing is wrong that it needs."""
        return all(one == OK for one in self.checks.values())

    def to_json(self) -> dict[str, Any]:
        """Return it as it is shown."""
        return {"ready": self.is_ready, "checks": dict(self.checks), "notes": dict(self.notes)}


def readiness(rollwave: Rollwave) -> Readiness:
    """
    Return whether this process can work; blocks.

    A broker that is down is noted and no more: it costs time, and no command fails for it. If it made every process
    unready at once, nobody could even brake.
    """
    checks = dict(health.check())
    if rollwave.runs_engine:
        checks["engine"] = OK if rollwave.is_engine_running else "not running"
    return Readiness(checks=checks, notes={} if rollwave.broker is None else {"broker": rollwave.broker()})


@contextmanager
def supervised(rollwave: Rollwave, *, loop: asyncio.AbstractEventLoop) -> Iterator[int | None]:
    """
    Serve metrics and probes of this process as long as the block lasts, where ``[metrics] port`` is set.

    Args:
        rollwave: What is asked.
        loop: The event loop that does the work: the process is alive while that turns.

    Yields:
        The port; None where none is set.
    """
    settings = rollwave.settings.metrics
    if settings.port is None:
        yield None
        return

    def live() -> tuple[bool, object]:
        turns = _turns(loop)
        return turns, {"live": turns}

    def ready() -> tuple[bool, object]:
        seen = _apart(readiness, rollwave)
        return seen.is_ready, seen.to_json()

    def page() -> bytes:
        return _apart(rollwave.metrics.page)

    with serving(host=settings.host, port=settings.port, page=page, live=live, ready=ready) as port:
        log.info("metrics_served", host=settings.host, port=port)
        yield port


def _turns(loop: asyncio.AbstractEventLoop) -> bool:
    turned = threading.Event()
    try:
        loop.call_soon_threadsafe(turned.set)
    except RuntimeError:  # it is closed
        return False
    return turned.wait(LOOP_ANSWERS_S)


def _apart(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the store from a thread that comes and goes: its connection goes with it."""
    try:
        return function(*args, **kwargs)
    finally:
        connection.close()
