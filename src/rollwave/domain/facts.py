"""
The event log of a deployment: what happened, in values. The state is the fold of these and nothing else (I21).

A fact names everything that it changes, so that folding needs no rule and no clock.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from typing import Final

from msgspec import Struct

from rollwave.domain.commands import Action, Settlement  # noqa: TC001  # the same
from rollwave.domain.config import DeploymentConfig  # noqa: TC001  # the same
from rollwave.domain.model import (  # noqa: TC001  # the same
    BrakeCause,
    Course,
    Entry,
    Failure,
    Kind,
    PackageRef,
    Phase,
)


class Planned(Struct, frozen=True, kw_only=True):
    """A deployment came to be: every batch as instance ids, in rolling order; *starts* by itself or waits for it."""

    group: str
    kind: Kind
    goal: PackageRef
    previous: PackageRef | None
    config: DeploymentConfig
    initial: bool
    batches: tuple[tuple[int, ...], ...]
    has_canary: bool
    starts: bool
    actor: str
    reason: str = ""


class CommandAccepted(Struct, frozen=True, kw_only=True):
    """Somebody asked for something, and it was open."""

    action: Action
    actor: str
    reason: str = ""


class PhaseChanged(Struct, frozen=True, kw_only=True):
    """The deployment moved to another phase."""

    phase: Phase


class BakeApproved(Struct, frozen=True, kw_only=True):
    """These canaries, in these attempts, may take production traffic: pairs of instance id and attempt."""

    actor: str
    attempts: tuple[tuple[int, int], ...]


class BakeWindowOpened(Struct, frozen=True, kw_only=True):
    """Every canary is in traffic; the bake lasts at least until then."""

    due_at: datetime


class BakeCondemned(Struct, frozen=True, kw_only=True):
    """A monitor judged the bake bad."""

    actor: str
    reason: str


class Braked(Struct, frozen=True, kw_only=True):
    """Nothing new starts; the counts as in `Brake`."""

    cause: BrakeCause
    reason: str
    actor: str
    failed_count: int = 0
    limit_count: int = 0


class BrakeReleased(Struct, frozen=True, kw_only=True):
    """It goes on."""


class AbortRequested(Struct, frozen=True, kw_only=True):
    """It is being given up."""

    reason: str
    rollback_to: PackageRef | None


class LimitRaised(Struct, frozen=True, kw_only=True):
    """A larger share of the group may be out of traffic."""

    max_unavailable_percent: int


class BatchScheduled(Struct, frozen=True, kw_only=True):
    """The pause before a batch began."""

    number: int
    due_at: datetime


class BatchReleased(Struct, frozen=True, kw_only=True):
    """A person let a batch go."""

    number: int


class BatchOpened(Struct, frozen=True, kw_only=True):
    """Targets of a batch may be admitted."""

    number: int


class SliceOpened(Struct, frozen=True, kw_only=True):
    """Targets were admitted (for a prestage: may fetch): pairs of instance id and how the attempt enters the chain."""

    number: int
    course: Course
    entries: tuple[tuple[int, Entry], ...]


class SliceClosed(Struct, frozen=True, kw_only=True):
    """Every target of a slice is settled."""

    number: int


class TargetsFailing(Struct, frozen=True, kw_only=True):
    """Targets failed and are being put back on the previous version."""

    failures: tuple[tuple[int, Failure], ...]


class TargetsSettled(Struct, frozen=True, kw_only=True):
    """The attempt of these targets is over."""

    settlements: tuple[Settlement, ...]


class TargetsLeft(Struct, frozen=True, kw_only=True):
    """These targets left the plan: their instance was held or went offline, or a waiting canary was given up."""

    instance_ids: tuple[int, ...]


class TargetsReset(Struct, frozen=True, kw_only=True):
    """These targets get a new attempt."""

    instance_ids: tuple[int, ...]


Fact = (
    Planned
    | CommandAccepted
    | PhaseChanged
    | BakeApproved
    | BakeWindowOpened
    | BakeCondemned
    | Braked
    | BrakeReleased
    | AbortRequested
    | LimitRaised
    | BatchScheduled
    | BatchReleased
    | BatchOpened
    | SliceOpened
    | SliceClosed
    | TargetsFailing
    | TargetsSettled
    | TargetsLeft
    | TargetsReset
)

FACTS: Final = {kind.__name__: kind for kind in Fact.__args__}
"""Every kind of fact by the name under which the log stores it."""
