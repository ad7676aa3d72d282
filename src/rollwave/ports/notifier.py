"""Notifications: what is sent to whom, the outbox that it comes from, and the channels that carry it."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Topic(Enum):
    """A kind of events that people choose by."""

    STARTED = "started"
    WAITING = "waiting"
    """For a person."""
    BRAKED = "braked"
    FAILED = "failed"
    FINISHED = "finished"
    EVERYTHING = "everything"


class Release(Struct, frozen=True, kw_only=True):
    """The deployment that a message is about."""

    deployment_id: int
    group: str
    app: str
    environment: str
    kind: str
    version: str


class Told(Struct, frozen=True, kw_only=True):
    """
    One event.

    Attributes:
        seq: Its number in the log of its deployment.
        at: When.
        kind: Name of the fact, as the log has it.
        instance: Name of the instance, for a stage of a target.
        data: The fact as JSON text.
        fact: The fact, or the stage that changed.
    """

    seq: int
    at: datetime
    kind: str
    instance: str | None
    data: str
    fact: Any


class Message(Struct, frozen=True, kw_only=True):
    """
    What is sent at once: events of one deployment, in order.

    Attributes:
        id: The same at every attempt to send these events to this subscription: who gets it twice can tell.
        subscription: Name of the subscription.
        release: Whose events; None for a test.
        events: Oldest first; none for a test.
        names: Names of the instances that the events speak of, by id.
        language: Tag of the language that people read it in.
        at: When it was put together first; a test has no other time.
    """

    id: str
    subscription: str
    release: Release | None
    events: tuple[Told, ...]
    names: Mapping[int, str]
    language: str
    at: datetime


class ChannelError(Exception):
    """
    A message did not arrive, as far as we know.

    Args:
        reason: What happened, for a person; holds no secret.
        retry_after_s: The receiver asked to be left alone for so long, in seconds.
        is_gone: The receiver says that it wants no more, ever.
    """

    def __init__(self, reason: str, *, retry_after_s: float = 0.0, is_gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.is_gone = is_gone


class Channel(Protocol):
    """A way to one receiver."""

    async def send(self, message: Message) -> str:
        """
        Send *message*; return what the receiver said, in a word or two.

        Raises:
            ChannelError: If it did not arrive, or we cannot know.
        """
        ...


class Claim(Struct, frozen=True, kw_only=True):
    """
    A subscription that one worker serves until its lease runs out.

    Attributes:
        subscription_id: Which.
        epoch: Of this claim; a later one fences it.
        settings: How the channel is reached, as JSON; with its secrets.
    """

    subscription_id: int
    epoch: int
    settings: bytes


class Parcel(Struct, frozen=True, kw_only=True):
    """A message that is on its way, with the events that it settles: all up to *until*, wanted or not."""

    message: Message
    until: int
    attempt: int


class Mark(Struct, frozen=True, kw_only=True):
    """
    Where a cursor moves to: from these numbers, or not at all.

    Attributes:
        cursor_id: Which.
        seq: Up to where it was told.
        until: The end of the message that was on its way.
        changes: What it becomes, by field.
    """

    cursor_id: int
    seq: int
    until: int
    changes: Mapping[str, Any]


class Prepared(Struct, frozen=True, kw_only=True):
    """The next message, if there is one now; and what has to be durable before it is sent."""

    parcel: Parcel | None
    marks: tuple[Mark, ...] = ()


class Outbox(Protocol):
    """
    Where messages come from: the event logs, and for each subscription how far it was told of each deployment.

    What was claimed is sent in order, and what was put together once stays together: a message that is sent again, by
    whomever, holds the same events under the same id.
    """

    def due(self, *, now: datetime) -> Sequence[int]:
        """Return the subscriptions that have something to be sent and that nobody serves; only reads."""
        ...

    def claim(self, subscription_id: int, *, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
        """Take a subscription; None where another has it, or it is disabled or must rest."""
        ...

    def prepare(self, claim: Claim, *, now: datetime) -> Prepared:
        """Put the next message together, and pass over what nobody wants; only reads. No message for a void claim."""
        ...

    def fix(self, claim: Claim, prepared: Prepared) -> bool:
        """Make durable what was prepared; False where that is out of date, and nothing of it may be sent."""
        ...

    def delivered(self, claim: Claim, parcel: Parcel, *, now: datetime, took_s: float, said: str) -> bool:
        """Record that it arrived; False where the claim is void, and another will send it again."""
        ...

    def failed(self, claim: Claim, parcel: Parcel, error: ChannelError, *, now: datetime, took_s: float) -> bool:
        """Record that it did not, and when it is tried again; a receiver that fails for days is disabled."""
        ...

    def release(self, claim: Claim) -> None:
        """Give the subscription back."""
        ...
