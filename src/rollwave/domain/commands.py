"""What a deployment can be told: commands by people and policies, observations by workers and the world."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from rollwave.domain.model import (  # noqa: TC001  # msgspec reads the annotations of what facts carry
    BrakeCause,
    Failure,
    PackageRef,
    Progress,
    Stage,
    Standing,
)


class Action(Enum):
    """What a person may do to a deployment; ``available_actions`` lists those that are open now."""

    APPROVE = "approve"
    START = "start"
    BAKE = "bake"
    ROLLOUT = "rollout"
    NEXT = "next"
    BRAKE = "brake"
    RESUME = "resume"
    RETRY = "retry"
    RAISE_LIMIT = "raise_limit"
    ABORT = "abort"
    ROLLBACK = "rollback"


class Approve(Struct, frozen=True, kw_only=True):
    """Let begin what somebody else has asked for."""

    actor: str
    reason: str = ""


class Start(Struct, frozen=True, kw_only=True):
    """Begin what was planned."""

    actor: str
    reason: str = ""


class Bake(Struct, frozen=True, kw_only=True):
    """Approve the canary: put it into production traffic."""

    actor: str
    reason: str = ""


class RollOut(Struct, frozen=True, kw_only=True):
    """Approve the rest."""

    actor: str
    reason: str = ""


class NextBatch(Struct, frozen=True, kw_only=True):
    """In manual mode: let the next batch go."""

    actor: str
    reason: str = ""


class ApplyBrake(Struct, frozen=True, kw_only=True):
    """Start nothing new."""

    actor: str
    cause: BrakeCause
    reason: str = ""


class Resume(Struct, frozen=True, kw_only=True):
    """Go on."""

    actor: str
    reason: str = ""


class Retry(Struct, frozen=True, kw_only=True):
    """Run the failed targets again, and those that left and may take part again."""

    actor: str
    reason: str = ""
    instance_ids: frozenset[int] | None = None
    """Only these; None for all."""


class RaiseLimit(Struct, frozen=True, kw_only=True):
    """Allow a larger share of the group out of traffic."""

    actor: str
    max_unavailable_percent: int
    reason: str = ""


class GiveUp(Struct, frozen=True, kw_only=True):
    """Abort; with *rollback_to*, a rollback follows as soon as nothing is in flight."""

    actor: str
    reason: str = ""
    rollback_to: PackageRef | None = None


Command = Approve | Start | Bake | RollOut | NextBatch | ApplyBrake | Resume | Retry | RaiseLimit | GiveUp


class Settlement(Struct, frozen=True, kw_only=True, gc=False):
    """
    What one target has become.

    Attributes:
        instance_id: The target's instance.
        standing: SUCCESS, VERIFIED, FAILED or LEFT.
        stage: Stage that ended it.
        progress: How that stage went.
        failure: First failure of the attempt.
        restored: Put back on the previous version, into traffic.
        version: Version that was seen running; None where unknown.
    """

    instance_id: int
    standing: Standing
    stage: Stage | None
    progress: Progress | None
    failure: Failure | None = None
    restored: bool = False
    version: str | None = None


class SliceReported(Struct, frozen=True, kw_only=True):
    """
    A worker tells what became of targets of its slice.

    Attributes:
        slice: Number of the slice.
        settled: Targets whose attempt is over.
        failing: Targets that failed and are being restored, with their failure.
        done: For a prestage slice, which settles nothing: the work is over.
    """

    slice: int
    settled: tuple[Settlement, ...] = ()
    failing: tuple[tuple[int, Failure], ...] = ()
    done: bool = False


class FleetChanged(Struct, frozen=True, kw_only=True):
    """Holds, offline servers or neighbors changed; the state that was loaded shows them already."""


class TimeCame(Struct, frozen=True, kw_only=True):
    """A due time may have come."""


class BakeJudged(Struct, frozen=True, kw_only=True):
    """A monitor says that the bake is bad."""

    actor: str
    reason: str


Observation = SliceReported | FleetChanged | TimeCame | BakeJudged
