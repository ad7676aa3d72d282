"""
What the engine tells of its own work, to whoever counts, measures or traces it.

Told are things of which there are few: a transaction, a decision, a slice. What there are many of (transitions) comes
with the transaction that made it durable.
"""

from __future__ import annotations

from contextlib import nullcontext
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from rollwave.domain.facts import Fact
    from rollwave.domain.model import BrakeCause, Phase
    from rollwave.ports.store import Claim, SliceRecord


class Part(Enum):
    """A part of the engine that can fail and goes on."""

    DISPATCHER = "dispatcher"
    TRAFFIC_KEEPER = "traffic_keeper"
    BALANCER = "balancer"
    """A pool could not be read."""
    BROKER = "broker"
    """A message could not be sent."""
    NOTIFIER = "notifier"


class Telemetry(Protocol):
    """
    Hears of what has happened.

    Called from the event loop and from threads. A method must not block, and must not raise: it would take the work
    down with it.
    """

    def decided(self, deployment_id: int, facts: Sequence[Fact], *, since: datetime) -> None:
        """A decision about a deployment is durable; it was asked for at *since*."""
        ...

    def recorded(self, records: Sequence[SliceRecord], *, since: datetime) -> None:
        """What workers reported is durable: the records of one transaction, handed over at *since*."""
        ...

    def conflicted(self) -> None:
        """A decision was void, because somebody else committed first; it is made again."""
        ...

    def sent(self) -> None:
        """A message about a slice was sent: a new one, or one that nobody has claimed in time."""
        ...

    def slice(self, claim: Claim, *, now: datetime) -> AbstractContextManager[object]:
        """
        Return what is held for as long as this process drives a slice, which it has claimed at *now*.

        It is left with the error, alone or in a group, that ended the work: FencedError where the lease was lost.
        """
        ...

    def put_right(self, *, in_traffic: bool, done: bool) -> None:
        """A balancer was not in line with the flags and was told: *done* where it has obeyed."""
        ...

    def failed(self, part: Part) -> None:
        """A part of the engine failed; it is in the log, and tried again."""
        ...


class NoTelemetry:
    """Nobody listens."""

    def decided(self, deployment_id: int, facts: Sequence[Fact], *, since: datetime) -> None:
        """Do nothing."""

    def recorded(self, records: Sequence[SliceRecord], *, since: datetime) -> None:
        """Do nothing."""

    def conflicted(self) -> None:
        """Do nothing."""

    def sent(self) -> None:
        """Do nothing."""

    def slice(self, claim: Claim, *, now: datetime) -> AbstractContextManager[object]:  # noqa: ARG002  # see above
        """Do nothing."""
        return nullcontext()

    def put_right(self, *, in_traffic: bool, done: bool) -> None:
        """Do nothing."""

    def failed(self, part: Part) -> None:
        """Do nothing."""


UNHEARD: Final = NoTelemetry()
"""Costs nothing; the default."""


class Census(Struct, frozen=True, kw_only=True):
    """
    What there is now, over all processes, as the store has it.

    Attributes:
        phases: How many deployments that are not final are in each phase.
        brakes: How many of them are braked, by cause.
        waiting: Open slices that nobody has claimed yet.
        held: Open slices that a worker holds.
        abandoned: Open slices whose worker has stopped renewing its lease, or has given it back.
        oldest_s: How long the oldest of those that nobody holds has been open, in seconds; 0 where there is none.
    """

    phases: Mapping[Phase, int]
    brakes: Mapping[BrakeCause, int]
    waiting: int
    held: int
    abandoned: int
    oldest_s: float
