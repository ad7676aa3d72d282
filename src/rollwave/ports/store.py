"""
The store: the truth. What is committed here happened; everything else is a hint.

Every method is synchronous and one transaction. The engine calls them from a thread, the simulator directly.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Protocol

from msgspec import Raw, Struct
from msgspec.json import encode

from rollwave.domain.model import Failure, Progress, Stage  # noqa: TC001  # msgspec reads the annotations
from rollwave.ports.executor import Line  # noqa: TC001  # as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from rollwave.domain import facts
    from rollwave.domain.decide import Decision
    from rollwave.domain.model import Course, Instance, PackageRef, State, Target
    from rollwave.ports.balancer import Member
    from rollwave.ports.executor import HostPlan

SliceKey = tuple[int, int]
"""A slice by its deployment's id and its own number."""


class Loaded(Struct, frozen=True, kw_only=True):
    """
    A deployment as it was read, with what a commit must find unchanged.

    Attributes:
        state: All that a decision may look at.
        version: Version of the deployment; every committed decision raises it.
        group_versions: By group name, this group's and its neighbors': a decision of one is void once another moved.
    """

    state: State
    version: int
    group_versions: Mapping[str, int]


class Fleet(Struct, frozen=True, kw_only=True):
    """
    A group before anything is planned.

    Attributes:
        group: Name of the group.
        app: Name of the app.
        instances: All of them, in a stable order.
        canaries: Ids of the instances that the group prefers as canaries.
        stable: The package of the last deployment that ended in success; None before the first.
        before_stable: The stable package before that one; None where there is none.
        good: Every package that was once released with success, the latest first: where a rollback may lead.
        active: Id and phase of the deployment that is not final; None where there is none.
    """

    group: str
    app: str
    instances: tuple[Instance, ...]
    canaries: tuple[int, ...]
    stable: PackageRef | None
    before_stable: PackageRef | None
    good: tuple[PackageRef, ...]
    active: tuple[int, str] | None


class CommandKey(Struct, frozen=True, kw_only=True):
    """
    Makes a command happen at most once (I22).

    Attributes:
        key: Chosen by the client, at most 200 characters.
        digest: Digest of actor and request: the same key with another request is a mistake.
    """

    key: str
    digest: str


class Job(Struct, frozen=True, kw_only=True, gc=False):
    """
    One target of a claimed slice, with all that its effects need.

    Attributes:
        target: Where its chain stands, from the last durable record.
        plan: What the host is told.
        member: What the balancer is told; None where the group has no balancer.
        balancer: Name of the balancer; empty where the group has none.
        executor: Name of the executor.
        drain_timeout_s: How long mark-down may wait for requests in flight, in seconds.
        restores: A failed target is put back on the previous version.
        not_before: Somebody else still has a hand on its traffic until then.
    """

    target: Target
    plan: HostPlan
    member: Member | None
    balancer: str
    executor: str
    drain_timeout_s: float
    restores: bool = False
    not_before: datetime | None = None


class Claim(Struct, frozen=True, kw_only=True):
    """
    A slice that one worker owns until its lease runs out.

    Attributes:
        key: The slice.
        course: How far it drives its targets.
        epoch: Fencing epoch: higher than every epoch given before, of any slice. None is less than the time of its
            claim in milliseconds: this holds of what was given since the backup, too, that a store was restored from.
        recalls: How often targets have been recalled (held) so far.
        instance_ids: All of its instances, also those whose targets are settled.
        opened_at: When its targets were admitted; None where the store is older than this being kept.
        is_takeover: Another claim of it came before this one.
    """

    key: SliceKey
    course: Course
    epoch: int
    recalls: int
    instance_ids: tuple[int, ...]
    opened_at: datetime | None = None
    is_takeover: bool = False


class Transition(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One target's stage began or ended. Durable before the effect that follows it. As JSON, a list in this order."""

    instance_id: int
    attempt: int
    stage: Stage
    progress: Progress
    at: datetime
    failure: Failure | None = None
    lines: tuple[Line, ...] | None = None


class StageChanged(Struct, frozen=True, kw_only=True, gc=False):
    """A transition as the log tells it; when, and of which instance, the log says beside it."""

    slice: int
    attempt: int
    stage: Stage
    progress: Progress
    failure: Failure | None = None
    lines: tuple[Line, ...] | None = None


class SliceRecord(Struct, frozen=True, kw_only=True, gc=False):
    """
    What a worker writes about its slice; also renews the lease.

    Attributes:
        key: The slice.
        epoch: Under which it was claimed; a higher one in the store fences this write.
        recalls: As last seen; a higher one in the store refuses this write.
        lease_until: New end of the lease.
        transitions: In the order in which they happened.
        packed: The same, `packed`; a store that writes it so makes it itself where it is None.
    """

    key: SliceKey
    epoch: int
    recalls: int
    lease_until: datetime
    transitions: Sequence[Transition] = ()
    packed: Raw | None = None


def packed(transitions: Sequence[Transition]) -> Raw:
    """Return *transitions* as one piece of JSON; to be called where there is time for it, which the writer has not."""
    return Raw(encode(transitions))


class Wish(Struct, frozen=True, kw_only=True):
    """
    What the traffic flags want of one instance at its balancer.

    Attributes:
        instance_id: The instance.
        balancer: Name of the balancer.
        member: The instance as the balancer sees it.
        in_traffic: Wanted in or out.
    """

    instance_id: int
    balancer: str
    member: Member
    in_traffic: bool


class Wishes(Struct, frozen=True, kw_only=True):
    """
    The wishes of every instance whose membership no worker is changing right now; iterates over all of them.

    Attributes:
        of_groups: By the name of every group that has a balancer.
        versions: By the same name, the group's version when its wishes were read.
    """

    of_groups: Mapping[str, tuple[Wish, ...]]
    versions: Mapping[str, int]

    def __iter__(self) -> Iterator[Wish]:
        return chain.from_iterable(self.of_groups.values())


class Store(Protocol):
    """The truth. Errors are those of `rollwave.domain.errors`."""

    # --- deciding ---

    def fleet(self, group: str) -> Fleet:
        """
        Return a group as it stands.

        Raises:
            NotFoundError: If there is no such group.
        """
        ...

    def create(self, planned: facts.Planned, *, at: datetime, command: CommandKey | None = None) -> int:
        """
        Record a new deployment in phase PENDING; return its id, or that of the first call with this command key.

        One that starts by itself is due at once. It follows every aborted deployment of the group whose rollback is
        still to be started: whatever it is, nobody waits for that rollback any more.

        Raises:
            DeploymentActiveError: If the group has a deployment that is not final; nothing is recorded.
            IdempotencyConflictError: If the command key stands for another request.
            StateConflictError: If an instance of the plan has left the group; plan again.
        """
        ...

    def load(self, deployment_id: int, *, cached: Loaded | None = None) -> Loaded:
        """
        Return a deployment; *cached* is returned as it is where nothing has changed since.

        Raises:
            NotFoundError: If there is no such deployment.
        """
        ...

    def commit(
        self,
        decisions: Sequence[tuple[Loaded, Decision]],
        records: Sequence[SliceRecord] = (),
        *,
        at: datetime,
        command: CommandKey | None = None,
    ) -> tuple[Loaded, ...]:
        """
        Record decisions (state, facts, intents) and what workers saw, in one transaction; all of it or nothing.

        Returns:
            For each decision what `load` would return now.

        Raises:
            StateConflictError: If a deployment or a neighbor has moved since it was loaded: load and decide again.
            FencedError: If a record's slice is closed or held under a higher epoch; names the first such slice.
            RecalledError: If targets of a record's slice were recalled since; names the first such slice.
            CommandRepeatedError: If the command key is known with the same request.
            IdempotencyConflictError: If the command key stands for another request.
        """
        ...

    def accepted(self, command: CommandKey) -> int | None:
        """
        Return the deployment that the command with this key was about; None where no such command was accepted.

        Raises:
            IdempotencyConflictError: If the key stands for another request.
        """
        ...

    # --- working ---

    def claim(self, key: SliceKey, *, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
        """Take a slice that nobody holds (or whose lease is over); None where it is held or closed."""
        ...

    def jobs(self, claim: Claim, *, now: datetime) -> tuple[Job, ...]:
        """
        Return a job for every target of a claimed slice that is not settled; for a prestage, that has not begun.

        Args:
            claim: What was claimed. Where another has it by now the jobs are what that one drives, to be refused later.
            now: Hands on an instance's traffic that end before it are not waited for.
        """
        ...

    def held(self, key: SliceKey) -> tuple[int, frozenset[int]]:
        """Return how often targets of a slice were recalled, and the instances among them that may not take part."""
        ...

    def undispatched(self, *, now: datetime, stale_before: datetime) -> Sequence[SliceKey]:
        """
        Return the open slices that nobody holds and that have to be sent: never sent, or sent before *stale_before*.

        They are marked as sent at *now*. A slice whose lease is over counts as held by nobody, and what was sent before
        the end of that lease as never sent.
        """
        ...

    def release(self, *, owner: str | None = None) -> int:
        """
        Take slices from their owner, to be sent again at once; return how many.

        Args:
            owner: Whose: a process gives back what it has before it stops. None: everybody's, for a process that knows
                that it is the only one.
        """
        ...

    def due(self, now: datetime) -> Sequence[int]:
        """Return the deployments that have something due at or before *now*."""
        ...

    def next_due(self) -> datetime | None:
        """Return the earliest due time of any deployment."""
        ...

    def resting(self) -> Mapping[int, int]:
        """
        Return the deployments that are not final and have no slice open, each with the version of its group.

        That rises with all that a decision on the deployment may look at, but for time, and for room that neighbors of
        its neighbors give back or take.
        """
        ...

    def neighbors_in_motion(self, group: str) -> Sequence[int]:
        """Return the active deployments of groups that share servers with *group*."""
        ...

    def unfollowed_rollbacks(self) -> Sequence[tuple[int, str, PackageRef]]:
        """Return aborted deployments whose rollback is still to be started: id, group, package."""
        ...

    # --- traffic ---

    def set_hold(self, instance_id: int, *, hold: bool, actor: str, reason: str, at: datetime) -> int | None:
        """
        Raise or clear an operator's hold, and recall the instance where a worker drives it.

        Returns:
            The id of the group's active deployment, which has to look again; None where there is none.
        """
        ...

    def wishes(self, *, cached: Wishes | None = None) -> Wishes:
        """
        Return what the traffic flags want of every instance whose membership no worker is changing right now.

        Groups of *cached* in which nothing has moved since are returned as they are: asking again costs next to
        nothing, however many instances there are.
        """
        ...

    def wish(self, instance_id: int) -> Wish | None:
        """Return what the traffic flags want of one instance; None where `wishes` would not name it."""
        ...

    def reserve_traffic(self, wish: Wish, *, now: datetime, until: datetime) -> bool:
        """
        Keep workers off an instance's traffic until then; False where the wish is out of date or one is at work.

        To take an instance out reserves nothing and waits for no reservation.
        """
        ...
