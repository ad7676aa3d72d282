"""
The in-memory store: the same contract without a database, for the simulator and for tests.

One transaction at a time, because nothing here awaits. What a crash of a process would lose lives elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollwave.domain.config import DeploymentConfig, FailurePolicy
from rollwave.domain.errors import (
    CommandRepeatedError,
    DeploymentActiveError,
    FencedError,
    IdempotencyConflictError,
    NotFoundError,
    RecalledError,
    StateConflictError,
)
from rollwave.domain.evolve import planned as begin
from rollwave.domain.model import Course, Progress, Stage, Standing
from rollwave.domain.neighbors import is_working, neighbor
from rollwave.domain.progress import next_due
from rollwave.domain.stability import good_packages, stable_packages
from rollwave.domain.traffic import wants_traffic
from rollwave.ports.balancer import Member
from rollwave.ports.executor import Host, HostPlan
from rollwave.ports.store import Claim, Fleet, Job, Loaded, Wish, Wishes
from rollwave.store.instants import unix_ms, unix_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rollwave.domain import facts
    from rollwave.domain.decide import Decision
    from rollwave.domain.model import Instance, Neighbor, PackageRef, State, Target
    from rollwave.ports.packages import SignedPackage
    from rollwave.ports.store import CommandKey, SliceKey, SliceRecord, Transition


@dataclass(kw_only=True, slots=True)
class GroupRow:
    """A group as it was registered."""

    name: str
    app: str
    config: DeploymentConfig = field(default_factory=DeploymentConfig)
    balancer: str = ""
    executor: str = "local"
    drain_timeout_s: float = 30
    canaries: tuple[int, ...] = ()
    version: int = 0


@dataclass(kw_only=True, slots=True)
class _InstanceRow:
    instance: Instance
    group: str
    port: int
    reserved_until: datetime | None = None


@dataclass(kw_only=True, slots=True)
class _SliceRow:
    course: Course
    instance_ids: tuple[int, ...]
    closed: bool = False
    owner: str = ""
    epoch: int = 0
    lease_until: datetime | None = None
    recalls: int = 0
    dispatched_at: datetime | None = None
    opened_at: datetime | None = None


@dataclass(kw_only=True, slots=True)
class _DeploymentRow:
    state: State
    version: int = 0
    targets: dict[int, Target] = field(default_factory=dict)
    slices: dict[int, _SliceRow] = field(default_factory=dict)
    log: list[facts.Fact | Transition] = field(default_factory=list)
    due_at: datetime | None = None
    created_us: int = 0
    followed_by: int | None = None


class MemoryStore:
    """Implements `rollwave.ports.store.Store`; see there for the contract of every method."""

    def __init__(self) -> None:
        self._groups: dict[str, GroupRow] = {}
        self._instances: dict[int, _InstanceRow] = {}
        self._by_group: dict[str, list[int]] = defaultdict(list)
        self._groups_of_server: dict[str, set[str]] = defaultdict(set)
        self._packages: dict[int, SignedPackage] = {}
        self._deployments: dict[int, _DeploymentRow] = {}
        self._active: dict[str, int] = {}
        self._ended: dict[str, list[int]] = defaultdict(list)
        self._commands: dict[str, tuple[str, int | None]] = {}
        self._epoch = 0

    # --- registering what there is ---

    def add_group(self, group: GroupRow) -> None:
        """Register a group."""
        self._groups[group.name] = group

    def add_instance(self, instance: Instance, *, group: str, port: int) -> None:
        """Register an instance of a group."""
        self._instances[instance.id] = _InstanceRow(instance=instance, group=group, port=port)
        self._by_group[group].append(instance.id)
        self._groups_of_server[instance.server].add(group)
        self._groups[group].version += 1

    def remove_instance(self, instance_id: int) -> None:
        """
        Remove an instance from its group, and from the tables of its old deployments.

        Raises:
            DeploymentActiveError: If the group has a deployment that is not final.
        """
        group = self._instances[instance_id].group
        self._check_free(group)
        # Before it goes, too: afterwards its group may share no server with those whose room it was part of.
        self._touch(group)
        server = self._instances.pop(instance_id).instance.server
        self._by_group[group].remove(instance_id)
        if all(self._instances[one].instance.server != server for one in self._by_group[group]):
            self._groups_of_server[server].discard(group)
        row = self._groups[group]
        row.canaries = tuple(one for one in row.canaries if one != instance_id)
        for deployment in self._deployments.values():
            deployment.targets.pop(instance_id, None)
        self._touch(group)

    def add_package(self, package_id: int, package: SignedPackage) -> None:
        """Register a package."""
        self._packages[package_id] = package

    def set_offline(self, server: str, *, offline: bool) -> list[int]:
        """Mark every instance of a server; return the active deployments that have to look again."""
        affected = []
        for row in self._instances.values():
            if row.instance.server == server:
                row.instance = replace(row.instance, offline=offline)
                self._touch(row.group)
                self._recall(row.instance.id, row.group)
                if row.group in self._active:
                    affected.append(self._active[row.group])
        return affected

    def log_of(self, deployment_id: int) -> Sequence[facts.Fact | Transition]:
        """Return the event log of a deployment, in order."""
        return tuple(self._deployments[deployment_id].log)

    def targets_of(self, deployment_id: int) -> Mapping[int, Target]:
        """Return the targets of a deployment as the last record left them."""
        return dict(self._deployments[deployment_id].targets)

    def instance(self, instance_id: int) -> Instance:
        """Return an instance with its flags."""
        return self._instances[instance_id].instance

    # --- deciding ---

    def fleet(self, group: str) -> Fleet:
        row = self._group(group)
        over = [self._deployments[one].state.deployment for one in self._ended[group]]
        ended = [(one.kind, one.goal, one.phase) for one in over]
        stable, before = stable_packages(ended)
        active = self._active.get(group)
        return Fleet(
            group=group,
            app=row.app,
            instances=tuple(self._instances[one].instance for one in self._by_group[group]),
            canaries=row.canaries,
            stable=stable,
            before_stable=before,
            good=good_packages(ended),
            active=(active, self._deployments[active].state.deployment.phase.value) if active else None,
        )

    def _group(self, name: str) -> GroupRow:
        try:
            return self._groups[name]
        except KeyError:
            raise NotFoundError(kind="group", name=name) from None

    def _row(self, deployment_id: int) -> _DeploymentRow:
        try:
            return self._deployments[deployment_id]
        except KeyError:
            raise NotFoundError(kind="deployment", name=deployment_id) from None

    def create(self, planned: facts.Planned, *, at: datetime, command: CommandKey | None = None) -> int:
        try:
            self._check_command(command)
        except CommandRepeatedError as repeated:
            if repeated.deployment_id is None:
                raise
            return repeated.deployment_id
        self._check_free(planned.group)
        if not {one for batch in planned.batches for one in batch} <= set(self._by_group[planned.group]):
            raise StateConflictError(
                f"an instance of {planned.group} was removed meanwhile; plan again", group=planned.group
            )
        deployment_id = len(self._deployments) + 1
        state = begin(deployment_id, planned, fleet={})
        ended = self._ended[planned.group]
        self._deployments[deployment_id] = _DeploymentRow(
            state=state,
            targets=dict(state.targets),
            log=[planned],
            due_at=at if planned.starts else None,
            created_us=max([unix_us(at), *(self._deployments[one].created_us + 1 for one in ended[-1:])]),
        )
        for aborted_id, group, _goal in self.unfollowed_rollbacks():
            if group == planned.group:
                self._deployments[aborted_id].followed_by = deployment_id
        self._active[planned.group] = deployment_id
        self._touch(planned.group)
        self._accept_command(command, deployment_id)
        return deployment_id

    def _check_free(self, group: str) -> None:
        active = self._active.get(group)
        if active is not None:
            phase = self._deployments[active].state.deployment.phase.value
            raise DeploymentActiveError(group=group, deployment_id=active, phase=phase)

    def accepted(self, command: CommandKey) -> int | None:
        digest, deployment_id = self._commands.get(command.key, (command.digest, None))
        if digest != command.digest:
            raise IdempotencyConflictError(key=command.key)
        return deployment_id

    def _check_command(self, command: CommandKey | None) -> None:
        if command is not None and command.key in self._commands:
            raise CommandRepeatedError(key=command.key, deployment_id=self.accepted(command))

    def _accept_command(self, command: CommandKey | None, deployment_id: int | None) -> None:
        if command is not None:
            self._commands[command.key] = (command.digest, deployment_id)

    def load(self, deployment_id: int, *, cached: Loaded | None = None) -> Loaded:
        row = self._row(deployment_id)
        group = row.state.deployment.group
        neighbors = self._neighbor_groups(group)
        versions = {name: self._groups[name].version for name in (group, *neighbors)}
        if cached is not None and (cached.version, cached.group_versions) == (row.version, versions):
            return cached
        state = row.state.having(
            targets=dict(row.targets),
            fleet={one: self._seen(self._instances[one], neighbors) for one in self._by_group[group]},
            neighbors=tuple(self._neighbor(name, seen_by=group) for name in neighbors),
        )
        return Loaded(state=state, version=row.version, group_versions=versions)

    def _neighbor_groups(self, group: str) -> list[str]:
        servers = {self._instances[one].instance.server for one in self._by_group[group]}
        return sorted({name for server in servers for name in self._groups_of_server[server]} - {group})

    def _touch(self, group: str) -> None:
        """Make void what was loaded of a group and of its neighbors, whose room others may have counted on."""
        for name in (group, *self._neighbor_groups(group)):
            self._groups[name].version += 1

    def _seen(self, row: _InstanceRow, neighbors: Sequence[str]) -> Instance:
        if not neighbors:
            return row.instance
        return replace(row.instance, busy_elsewhere=self._is_busy(row.instance.server, but_for={row.group}))

    def _target(self, instance_id: int, group: str) -> Target | None:
        active = self._active.get(group)
        return self._deployments[active].targets.get(instance_id) if active else None

    def _is_busy(self, server: str, *, but_for: set[str]) -> bool:
        """Return whether a group other than these has *server* out of traffic."""
        return any(
            self._instances[one].instance.server == server
            and is_working(self._instances[one].instance, self._target(one, name))
            for name in self._groups_of_server[server] - but_for
            for one in self._by_group[name]
        )

    def _neighbor(self, name: str, *, seen_by: str) -> Neighbor:
        """Return a group as *seen_by* sees it, whose own work is not in it: its decisions count that themselves."""
        active = self._active.get(name)
        row = self._deployments[active] if active else None
        rows = [self._instances[one] for one in self._by_group[name]]
        return neighbor(
            name,
            fleet=[
                replace(one.instance, busy_elsewhere=self._is_busy(one.instance.server, but_for={name, seen_by}))
                for one in rows
            ],
            targets=row.targets if row else {},
            deployment=row.state.deployment if row else None,
            max_unavailable_percent=self._groups[name].config.max_unavailable_percent,
        )

    def commit(
        self,
        decisions: Sequence[tuple[Loaded, Decision]],
        records: Sequence[SliceRecord] = (),
        *,
        at: datetime,
        command: CommandKey | None = None,
    ) -> tuple[Loaded, ...]:
        self._check_command(command)
        for record in records:
            self._check_record(record)
        for loaded, _decision in decisions:
            self._check_unmoved(loaded)
        # From here on nothing can be refused, so that it is all or nothing.
        alone = [self._write_decision(loaded, decision, at=at) for loaded, decision in decisions]
        for record in records:
            self._write_record(record)
        self._accept_command(command, decisions[0][0].state.deployment.id if decisions else None)
        # What one of them has made of its deployment is void where another of the same commit moved a neighbor.
        return tuple(self.load(one.state.deployment.id, cached=one) for one in alone)

    def _check_record(self, record: SliceRecord) -> None:
        row = self._deployments[record.key[0]].slices[record.key[1]]
        if row.closed or row.epoch != record.epoch:
            raise FencedError(deployment_id=record.key[0], slice_number=record.key[1])
        if row.recalls != record.recalls:
            raise RecalledError(deployment_id=record.key[0], slice_number=record.key[1])

    def _check_unmoved(self, loaded: Loaded) -> None:
        deployment = loaded.state.deployment
        moved = self._deployments[deployment.id].version != loaded.version
        if moved or any(self._groups[name].version != seen for name, seen in loaded.group_versions.items()):
            raise StateConflictError(f"deployment {deployment.id} has moved", deployment_id=deployment.id)

    def _write_decision(self, loaded: Loaded, decision: Decision, *, at: datetime) -> Loaded:
        state = decision.state
        deployment = state.deployment
        row = self._deployments[deployment.id]
        if not decision.facts:
            return loaded
        row.log.extend(decision.facts)
        row.version += 1
        for one, target in state.targets.items():
            if target is not loaded.state.targets[one]:
                known = row.targets[one]
                is_driven = target.standing is Standing.IN_FLIGHT and known.slice == target.slice
                row.targets[one] = replace(target, stage=known.stage, progress=known.progress) if is_driven else target
        for one, instance in state.fleet.items():
            if instance is not loaded.state.fleet[one]:
                self._instances[one].instance = replace(instance, busy_elsewhere=False)
        for number, opened in deployment.slices.items():
            if number not in row.slices:
                row.slices[number] = _SliceRow(course=opened.course, instance_ids=opened.instance_ids, opened_at=at)
        for number, slice_row in row.slices.items():
            slice_row.closed = number not in deployment.slices
        row.state = state.having(neighbors=())
        row.due_at = next_due(state)
        if deployment.phase.is_final and self._active.get(deployment.group) == deployment.id:
            del self._active[deployment.group]
            self._ended[deployment.group].append(deployment.id)
        self._touch(deployment.group)
        versions = {name: self._groups[name].version for name in loaded.group_versions}
        return Loaded(state=state, version=row.version, group_versions=versions)

    def _write_record(self, record: SliceRecord) -> None:
        row = self._deployments[record.key[0]]
        row.slices[record.key[1]].lease_until = record.lease_until
        for transition in record.transitions:
            row.log.append(transition)
            target = row.targets[transition.instance_id]
            failure = None if transition.stage is Stage.PROVE else transition.failure
            row.targets[transition.instance_id] = replace(
                target,
                stage=transition.stage,
                progress=transition.progress,
                failure=target.failure or (failure if transition.progress is Progress.FAILURE else None),
            )

    # --- working ---

    def claim(self, key: SliceKey, *, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
        row = self._row(key[0])
        slice_row = row.slices.get(key[1])
        if slice_row is None or slice_row.closed or self._is_held(slice_row, now):
            return None
        self._epoch = max(self._epoch + 1, unix_ms(now))
        is_takeover = slice_row.epoch > 0
        slice_row.owner, slice_row.epoch, slice_row.lease_until = owner, self._epoch, lease_until
        return Claim(
            key=key,
            course=slice_row.course,
            epoch=self._epoch,
            recalls=slice_row.recalls,
            instance_ids=tuple(slice_row.instance_ids),
            opened_at=slice_row.opened_at,
            is_takeover=is_takeover,
        )

    def jobs(self, claim: Claim, *, now: datetime) -> tuple[Job, ...]:
        row = self._row(claim.key[0])
        # Where the deployment is over, instances may be gone.
        targets = [row.targets[one] for one in claim.instance_ids if one in row.targets]
        if claim.course is Course.PRESTAGE:
            targets = [target for target in targets if target.standing is Standing.PENDING]
        else:
            targets = [target for target in targets if target.slice == claim.key[1]]
        return tuple(self._job(row, target, now=now) for target in targets)

    @staticmethod
    def _is_held(row: _SliceRow, now: datetime) -> bool:
        return row.lease_until is not None and row.lease_until > now and row.owner != ""

    def _job(self, row: _DeploymentRow, target: Target, *, now: datetime) -> Job:
        deployment = row.state.deployment
        group = self._groups[deployment.group]
        instance_row = self._instances[target.instance_id]
        instance = instance_row.instance
        reserved_until = instance_row.reserved_until
        previous = deployment.previous.version if deployment.previous else None
        host = Host(
            instance=instance.name,
            server=instance.server,
            address=instance.server,
            port=instance_row.port,
            deploy_path=f"/srv/{deployment.group}",
        )
        plan = HostPlan(
            deployment_id=deployment.id,
            created_us=row.created_us,
            host=host,
            package=self._packages[deployment.goal.id],
            previous_version=previous,
            start=("start",),
            stop=("stop",),
            health_path="/healthz",
            startup_timeout_s=deployment.config.startup_timeout_s,
            ignore_verify=deployment.config.ignore_verify,
        )
        return Job(
            target=target,
            plan=plan,
            member=self._member(instance_row) if group.balancer else None,
            balancer=group.balancer,
            executor=group.executor,
            drain_timeout_s=group.drain_timeout_s,
            restores=deployment.config.on_target_failure is FailurePolicy.RESTORE and previous is not None,
            not_before=reserved_until if reserved_until and reserved_until > now else None,
        )

    @staticmethod
    def _member(row: _InstanceRow) -> Member:
        return Member(pool=row.group, name=row.instance.name, address=row.instance.server, port=row.port)

    def held(self, key: SliceKey) -> tuple[int, frozenset[int]]:
        slice_row = self._row(key[0]).slices[key[1]]
        known = (one for one in slice_row.instance_ids if one in self._instances)
        gone = (one for one in known if not self._instances[one].instance.can_take_part)
        return slice_row.recalls, frozenset(gone)

    def undispatched(self, *, now: datetime, stale_before: datetime) -> Sequence[SliceKey]:
        found = []
        for deployment_id in self._active.values():
            for number, row in self._deployments[deployment_id].slices.items():
                is_sent = row.dispatched_at is not None and row.dispatched_at > stale_before
                is_used_up = row.dispatched_at and row.lease_until and row.dispatched_at < row.lease_until
                if row.closed or (is_sent and not is_used_up) or self._is_held(row, now):
                    continue
                row.dispatched_at = now
                found.append((deployment_id, number))
        return found

    def release(self, *, owner: str | None = None) -> int:
        released = 0
        for deployment_id in self._active.values():
            for row in self._deployments[deployment_id].slices.values():
                if not row.closed and row.owner and owner in (None, row.owner):
                    row.owner, row.lease_until, row.dispatched_at = "", None, None
                    released += 1
        return released

    def due(self, now: datetime) -> Sequence[int]:
        active = ((one, self._deployments[one].due_at) for one in self._active.values())
        return [one for one, due_at in active if due_at is not None and due_at <= now]

    def next_due(self) -> datetime | None:
        dues = (self._deployments[one].due_at for one in self._active.values())
        return min((due_at for due_at in dues if due_at is not None), default=None)

    def resting(self) -> Mapping[int, int]:
        return {
            deployment_id: self._groups[group].version
            for group, deployment_id in self._active.items()
            if not self._deployments[deployment_id].state.deployment.slices
        }

    def neighbors_in_motion(self, group: str) -> Sequence[int]:
        return [self._active[name] for name in self._neighbor_groups(group) if name in self._active]

    def unfollowed_rollbacks(self) -> Sequence[tuple[int, str, PackageRef]]:
        found = []
        for deployment_id, row in self._deployments.items():
            deployment = row.state.deployment
            is_over = deployment.phase.is_final and row.followed_by is None
            if is_over and deployment.abort and deployment.abort.rollback_to:
                found.append((deployment_id, deployment.group, deployment.abort.rollback_to))
        return found

    # --- traffic ---

    def set_hold(self, instance_id: int, *, hold: bool, actor: str, reason: str, at: datetime) -> int | None:
        del actor, reason, at
        if instance_id not in self._instances:
            raise NotFoundError(kind="instance", name=instance_id)
        row = self._instances[instance_id]
        row.instance = replace(row.instance, hold=hold)
        self._touch(row.group)
        self._recall(instance_id, row.group)
        return self._active.get(row.group)

    def _recall(self, instance_id: int, group: str) -> None:
        active = self._active.get(group)
        target = self._target(instance_id, group)
        if active and target and target.slice is not None:
            self._deployments[active].slices[target.slice].recalls += 1

    def wishes(self, *, cached: Wishes | None = None) -> Wishes:
        groups = [group for group in self._groups.values() if group.balancer]
        return Wishes(
            of_groups={group.name: self._wishes_of(group, cached=cached) for group in groups},
            versions={group.name: group.version for group in groups},
        )

    def _wishes_of(self, group: GroupRow, *, cached: Wishes | None) -> tuple[Wish, ...]:
        active = self._active.get(group.name)
        targets = self._deployments[active].targets.values() if active else ()
        # What workers write as they go is in no group's version; all else that a wish depends on is.
        is_worked_on = any(target.standing is Standing.IN_FLIGHT for target in targets)
        if cached and cached.versions.get(group.name) == group.version and not is_worked_on:
            return cached.of_groups[group.name]
        found = (self._wish(self._instances[one]) for one in self._by_group[group.name])
        return tuple(wish for wish in found if wish is not None)

    def wish(self, instance_id: int) -> Wish | None:
        row = self._instances.get(instance_id)
        return None if row is None else self._wish(row)

    def _wish(self, row: _InstanceRow) -> Wish | None:
        balancer = self._groups[row.group].balancer
        in_traffic = self._wants_in(row) if balancer else None
        if in_traffic is None:
            return None
        return Wish(instance_id=row.instance.id, balancer=balancer, member=self._member(row), in_traffic=in_traffic)

    def _wants_in(self, row: _InstanceRow) -> bool | None:
        """Return what the flags want of an instance, None while a worker is changing it."""
        return wants_traffic(row.instance, self._target(row.instance.id, row.group))

    def reserve_traffic(self, wish: Wish, *, now: datetime, until: datetime) -> bool:
        row = self._instances.get(wish.instance_id)
        if row is None or self._wants_in(row) is not wish.in_traffic:
            return False
        if not wish.in_traffic:
            return True
        if row.reserved_until is not None and row.reserved_until > now:
            return False
        row.reserved_until = until
        return True
