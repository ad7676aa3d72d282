"""The values of a release. All frozen; two facts are always two fields."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from rollwave.domain.config import BatchMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollwave.domain.config import DeploymentConfig
    from rollwave.domain.tally import Tally


class Kind(Enum):
    """What a deployment is for."""

    ROLLOUT = "rollout"
    ROLLBACK = "rollback"
    SCALE_OUT = "scale_out"
    REROLL = "reroll"


class Phase(Enum):
    """Where a deployment stands. The brake and an abort request are facts of their own."""

    PENDING = "pending"
    CANARY = "canary"
    VERIFY_SUCCESS = "verify_success"
    VERIFY_FAILURE = "verify_failure"
    BAKING = "baking"
    BAKE_SUCCESS = "bake_success"
    BAKE_FAILURE = "bake_failure"
    ROLLING_OUT = "rolling_out"
    SUCCESS = "success"
    FAILURE = "failure"
    ABORTED = "aborted"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow: the group is free for the next deployment."""
        return self in (Phase.SUCCESS, Phase.ABORTED)


class Stage(Enum):
    """One step of a target's chain. PROVE may stand in for the middle of it; RESTORE follows a failure."""

    # Members are single objects, and tables go by them a million times a release: identity is the hash.
    __hash__ = object.__hash__

    MARKDOWN = "markdown"
    DOWNLOAD = "download"
    INSTALL = "install"
    VERIFY = "verify"
    MARKUP = "markup"
    PROVE = "prove"
    RESTORE = "restore"


class Progress(Enum):
    """How the stage that was last begun went."""

    __hash__ = object.__hash__

    RUNNING = "running"
    UNKNOWN = "unknown"
    SUCCESS = "success"
    FAILURE = "failure"


class Standing(Enum):
    """What a target is to its deployment; the stage and progress beside it tell the details."""

    __hash__ = object.__hash__

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    VERIFIED = "verified"
    """A canary that waits, out of traffic, to be baked."""
    SUCCESS = "success"
    FAILED = "failed"
    LEFT = "left"
    """Its instance was held or went offline: it left the plan and blocks nobody."""

    @property
    def is_final(self) -> bool:
        """Whether the attempt is over."""
        return self in (Standing.SUCCESS, Standing.FAILED, Standing.LEFT)


class Entry(Enum):
    """How an attempt enters the chain; fixed when the target is admitted."""

    __hash__ = object.__hash__

    FULL = "full"
    """In traffic (or never yet): all five stages."""
    PROVE_OUT = "prove_out"
    """Already out of traffic and perhaps good: mark down again, prove, and skip to markup where the proof holds."""
    PROVE_IN = "prove_in"
    """In traffic and said to run the goal: prove, and skip to markup where the proof holds."""
    BAKE = "bake"
    """A verified canary: markup alone."""


class Course(Enum):
    """How far a slice drives its targets."""

    CANARY = "canary"
    """Up to verify; then the target waits out of traffic."""
    FULL = "full"
    """Up to markup."""
    PRESTAGE = "prestage"
    """Download ahead of time: nothing is admitted, nothing leaves traffic."""


class BrakeCause(Enum):
    """Why nothing new starts."""

    OPERATOR = "operator"
    FAILURES = "failures"
    NO_CANARY = "no_canary"
    DEPENDENCY = "dependency"


class PackageRef(Struct, frozen=True, kw_only=True):
    """A package by its row and its version."""

    id: int
    version: str


class Instance(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """
    One app on one server, with its traffic flags.

    Attributes:
        id: Row of the instance.
        name: ``<group>/<server>:<port>``.
        server: Name of the server.
        site: Name of the site that the server stands in.
        hold: An operator took it out.
        offline: Its server is offline.
        failed: A deployment left it out of traffic, broken or unproven.
        new: It has never been in traffic; it is capacity to come, not capacity.
        busy_elsewhere: Another group's deployment has its server out of traffic now.
        version: Version of the process that was last proven to run; None where unknown.
    """

    id: int
    name: str
    server: str
    site: str
    hold: bool = False
    offline: bool = False
    failed: bool = False
    new: bool = False
    busy_elsewhere: bool = False
    version: str | None = None

    @property
    def can_take_part(self) -> bool:
        """Whether a deployment may plan or go on with it."""
        return not (self.hold or self.offline)


class Failure(Struct, frozen=True, kw_only=True, gc=False):
    """
    Why a stage failed.

    Attributes:
        code: A stable dotted code.
        message: A sentence.
        stage: The stage.
        log: The end of what its commands printed on the host, a few lines; empty where nobody knows.
    """

    code: str
    message: str
    stage: Stage
    log: str = ""


class Target(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """
    One instance inside one deployment.

    Attributes:
        instance_id: The instance.
        batch: Number of its batch, from 1.
        standing: What it is to the deployment.
        attempt: From 1; a retry gives the next.
        entry: How this attempt entered the chain.
        slice: Number of the slice that drives it; None unless IN_FLIGHT.
        stage: Stage that was last begun in this attempt; None before the first.
        progress: How that stage went.
        failure: First failure of this attempt.
        restored: It failed and was put back on the previous version, into traffic.
    """

    instance_id: int
    batch: int
    standing: Standing = Standing.PENDING
    attempt: int = 1
    entry: Entry = Entry.FULL
    slice: int | None = None
    stage: Stage | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    restored: bool = False

    @property
    def status(self) -> str:
        """The public status: PENDING, SKIPPED, SUCCESS, or the stage and how it went."""
        if self.standing is Standing.SUCCESS:
            return "SUCCESS"
        if self.standing is Standing.LEFT:
            return "SKIPPED"
        if self.stage is None or self.progress is None:
            return "PENDING"
        return f"{self.stage.name}_{self.progress.name}"

    @property
    def counts_as_failed(self) -> bool:
        """Whether the brake counts it: failed, or failed and on its way back to the previous version."""
        return self.standing is Standing.FAILED or (self.standing is Standing.IN_FLIGHT and self.failure is not None)


class Batch(Struct, frozen=True, kw_only=True):
    """
    Targets that roll together.

    Attributes:
        number: From 1.
        canary: Whether it is the canary batch.
        due_at: When its pause ends; None before the pause began.
        released: In manual mode: a person let it go.
        opened: Its targets may be admitted.
    """

    number: int
    canary: bool = False
    due_at: datetime | None = None
    released: bool = False
    opened: bool = False


class Slice(Struct, frozen=True, kw_only=True):
    """Targets that one worker drives; open until the last of them is settled."""

    number: int
    course: Course
    instance_ids: tuple[int, ...]


class Brake(Struct, frozen=True, kw_only=True):
    """
    Nothing new starts; what is in flight finishes.

    Attributes:
        cause: Why.
        reason: The same in words: of the person who braked, or of the engine, in English.
        failed_count: For FAILURES: how many had failed.
        limit_count: For FAILURES: how many may.
    """

    cause: BrakeCause
    reason: str
    failed_count: int = 0
    limit_count: int = 0

    def __str__(self) -> str:
        """Return why, in words."""
        return self.reason or self.cause.value


class Abort(Struct, frozen=True, kw_only=True):
    """The deployment is being given up; *rollback_to* follows it once nothing is in flight."""

    reason: str
    rollback_to: PackageRef | None = None


class Deployment(Struct, frozen=True, kw_only=True):
    """
    One attempt to bring a group to a package.

    Attributes:
        id: Row of the deployment.
        group: Name of the group.
        kind: What it is for.
        goal: The package that every target shall run.
        previous: The stable package before it, to restore to; None where there is none.
        config: Its own frozen copy of the settings.
        initial: No instance of the group was in service when it was planned: capacity is counted as if all were.
        starts: It starts by itself; otherwise it waits in PENDING for somebody.
        phase: Where it stands.
        brake: Set while nothing new may start.
        abort: Set once it is being given up.
        batches: In the order in which they roll.
        slices: Open slices by number.
        last_slice: Number of the newest slice, 0 before the first.
        bake_due_at: When the bake window ends; None before every canary is in traffic.
        actor: Who asked for it.
        approved_by: Who approved it; None before somebody has.
    """

    id: int
    group: str
    kind: Kind
    goal: PackageRef
    previous: PackageRef | None
    config: DeploymentConfig
    initial: bool
    starts: bool = False
    phase: Phase = Phase.PENDING
    brake: Brake | None = None
    abort: Abort | None = None
    batches: tuple[Batch, ...] = ()
    slices: Mapping[int, Slice] = {}
    last_slice: int = 0
    bake_due_at: datetime | None = None
    actor: str = ""
    approved_by: str | None = None

    @property
    def needs_approval(self) -> bool:
        """Whether it may not begin before somebody approves it."""
        return self.config.requires_approval and self.kind is not Kind.ROLLBACK and self.approved_by is None

    @property
    def goes_by_hand(self) -> bool:
        """Whether a person lets each batch go; a rollback never waits. Source: domain.md, rule 5."""
        return self.config.batch_mode is BatchMode.MANUAL and self.kind is not Kind.ROLLBACK

    @property
    def canary_batch(self) -> Batch | None:
        """The canary batch; None for a rollback, a scale-out, or where the settings want none."""
        return self.batches[0] if self.batches and self.batches[0].canary else None


class Neighbor(Struct, frozen=True, kw_only=True):
    """
    Another group that shares servers with this one: its budget counts our work, as ours counts its.

    Attributes:
        group: Name of the group.
        room_count: How many more of its instances may leave traffic; our own work need not be counted yet.
        in_by_server: How many of its counted instances are still in traffic, by server; the same.
    """

    group: str
    room_count: int
    in_by_server: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """
    All that a decision may look at.

    Attributes:
        deployment: The deployment itself.
        targets: By instance id, in the order in which they roll.
        fleet: Every instance of the group by id, targets or not.
        neighbors: Groups that share servers with this one.
        cached_tally: Counts that follow from the rest; ask `tally_of`. A copy made by `having` begins without.
    """

    deployment: Deployment
    targets: Mapping[int, Target]
    fleet: Mapping[int, Instance]
    neighbors: tuple[Neighbor, ...] = ()
    cached_tally: Tally | None = field(default=None, init=False, compare=False, repr=False)

    def having(self, **changes: Any) -> State:
        """Return a copy in which some fields are others; its counts are made anew."""
        return replace(self, **changes)

    def in_batch(self, number: int) -> tuple[Target, ...]:
        """Return the targets of one batch, in rolling order."""
        return tuple(target for target in self.targets.values() if target.batch == number)

    def is_canary(self, target: Target) -> bool:
        """Return whether *target* may serve the new version only after an approval."""
        return self.deployment.canary_batch is not None and target.batch == 1

    @property
    def in_flight(self) -> tuple[Target, ...]:
        """Return the targets that a worker drives now."""
        return tuple(target for target in self.targets.values() if target.standing is Standing.IN_FLIGHT)
