"""What can go wrong with one command to one host: scripts for `FakeExecutor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Fail:
    """
    The verb runs for its usual time and fails; the journal keeps it.

    Attributes:
        code: Stable dotted name.
        message: One sentence.
    """

    code: str
    message: str = "scripted failure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """The verb begins and does not end before `FakeExecutor.release`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KillWorker:
    """The verb begins, and its worker dies half-way: no effect but what a beginning has, and no result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoseCommand:
    """The command never arrives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoseReply:
    """The verb is done, and nobody hears of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliverLate:
    """
    The caller hears nothing, and the command arrives later all the same: a frozen agent wakes up.

    Attributes:
        delay_s: How much later, in seconds.
    """

    delay_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliverTwice:
    """
    All goes well, and the same command arrives once more.

    Attributes:
        delay_s: How long after the first, in seconds.
    """

    delay_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreachable:
    """The host cannot be reached this once."""


Fault = Fail | Hang | KillWorker | LoseCommand | LoseReply | DeliverLate | DeliverTwice | Unreachable
