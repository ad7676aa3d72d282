"""The use cases: plan, start, command, hold. Load, decide, commit; the store's version check settles who came first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain import facts
from rollwave.domain.commands import FleetChanged, GiveUp, TimeCame
from rollwave.domain.decide import decide
from rollwave.domain.errors import (
    CommandRepeatedError,
    DeploymentActiveError,
    NeverReleasedError,
    NoStablePackageError,
    StateConflictError,
)
from rollwave.domain.model import Kind
from rollwave.domain.planner import is_initial, plan
from rollwave.ports.telemetry import UNHEARD

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from rollwave.domain.commands import Command, Observation
    from rollwave.domain.config import DeploymentConfig
    from rollwave.domain.model import PackageRef
    from rollwave.ports.store import CommandKey, Fleet, Loaded, Store
    from rollwave.ports.telemetry import Telemetry

ATTEMPTS: Final = 20
"""How often a decision is made again because somebody else committed first, before that is called a conflict."""


class Releases:
    """
    What people, policies and workers can do to deployments. Stateless but for a cache; safe to use from many threads.

    Args:
        store: The truth.
        on_commit: Called after every commit that may have left something to send or to look at.
        telemetry: Hears of it.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_commit: Callable[[Loaded], None] = lambda _loaded: None,
        telemetry: Telemetry = UNHEARD,
    ) -> None:
        self.store = store
        self._on_commit = on_commit
        self._telemetry = telemetry
        self._cache: dict[int, Loaded] = {}

    def load(self, deployment_id: int) -> Loaded:
        """Return a deployment as it stands; raises NotFoundError."""
        return self.store.load(deployment_id, cached=self._cache.get(deployment_id))

    def remember(self, loaded: Loaded) -> None:
        """Keep what a commit returned, so that the next load need not read it all; tell who listens."""
        deployment = loaded.state.deployment
        if deployment.phase.is_final:
            self._cache.pop(deployment.id, None)
        else:
            self._cache[deployment.id] = loaded
        self._on_commit(loaded)

    def plan(
        self,
        group: str,
        *,
        kind: Kind,
        config: DeploymentConfig,
        goal: PackageRef | None,
        starts: bool = True,
        actor: str,
        reason: str = "",
    ) -> facts.Planned:
        """
        Return the exact plan of a deployment; nothing is recorded.

        Args:
            group: Name of the group.
            kind: What for.
            config: Its settings.
            goal: The package; None for the stable one (scale-out, reroll) or the one before it (rollback).
            starts: Whether it starts by itself once it is created.
            actor: Who plans.
            reason: Why.

        Raises:
            NotFoundError: If there is no such group.
            NoStablePackageError: If *goal* is None and there is no package to fall back on.
            NeverReleasedError: If a rollback is to lead to a package that was never released with success.
            EmptyGroupError: If no instance can take part.
        """
        fleet = self.store.fleet(group)
        goal = goal or _implied_goal(fleet, kind)
        if kind is Kind.ROLLBACK:
            _check_rollback(fleet, goal)
        batches, has_canary = plan(fleet.instances, group=group, kind=kind, config=config, canaries=fleet.canaries)
        return facts.Planned(
            group=group,
            kind=kind,
            goal=goal,
            previous=_previous(fleet, goal),
            config=config,
            initial=is_initial(fleet.instances),
            batches=batches,
            has_canary=has_canary,
            starts=starts,
            actor=actor,
            reason=reason,
        )

    def create(self, planned: facts.Planned, *, now: datetime, command: CommandKey | None = None) -> int:
        """
        Record a plan as a deployment, which starts at once where it was planned to; return its id.

        A crash right after leaves it due in the store, so that it starts all the same.

        Raises:
            DeploymentActiveError: If the group has a deployment that is not final.
            IdempotencyConflictError: If the command key stands for another request.
            StateConflictError: If an instance of the plan has left the group; plan again.
        """
        deployment_id = self.store.create(planned, at=now, command=command)
        self.act(deployment_id, TimeCame(), now=now)
        return deployment_id

    def act(
        self, deployment_id: int, event: Command | Observation, *, now: datetime, command: CommandKey | None = None
    ) -> Loaded:
        """
        Decide on *event*, commit, and return what the deployment is then.

        A command key that was accepted before returns the deployment as it stands and does nothing.

        Raises:
            NotFoundError: If there is no such deployment.
            ActionNotAllowedError: If the command is not open now.
            InvalidValueError: If it carries a value out of range.
            NeverReleasedError: If it names a package to roll back to that was never released with success.
            IdempotencyConflictError: If the command key stands for another request.
            StateConflictError: If others kept committing first; try again.
        """
        for _ in range(ATTEMPTS):
            loaded = self.load(deployment_id)
            # After the load: a state that a command has closed is never seen without the key of that command.
            if command is not None and self.store.accepted(command) is not None:
                return loaded
            try:
                decision = decide(loaded.state, event, now=now)
                if isinstance(event, GiveUp) and event.rollback_to is not None:
                    _check_rollback(self.store.fleet(loaded.state.deployment.group), event.rollback_to)
                if not decision.facts and command is None:
                    return loaded
                (after,) = self.store.commit([(loaded, decision)], at=now, command=command)
            except StateConflictError:
                self._telemetry.conflicted()
                continue
            except CommandRepeatedError:
                return self.load(deployment_id)
            self._telemetry.decided(deployment_id, decision.facts, since=now)
            self.remember(after)
            return after
        raise StateConflictError(
            f"deployment {deployment_id} kept changing while a command was decided; try again",
            deployment_id=deployment_id,
        )

    def check_rollback(self, group: str, goal: PackageRef) -> None:
        """
        Return if a rollback of *group* may lead to *goal*.

        Raises:
            NotFoundError: If there is no such group.
            NeverReleasedError: If it was never released there with success.
        """
        _check_rollback(self.store.fleet(group), goal)

    def set_hold(self, instance_id: int, *, hold: bool, actor: str, reason: str, now: datetime) -> None:
        """Raise or clear an operator's hold, and let the group's active deployment look again."""
        active = self.store.set_hold(instance_id, hold=hold, actor=actor, reason=reason, at=now)
        if active is not None:
            self.act(active, FleetChanged(), now=now)

    def roll_back_active(
        self, deployment_id: int, *, actor: str, reason: str, now: datetime, goal: PackageRef | None = None
    ) -> Loaded:
        """
        Give a deployment up and roll its group back as soon as nothing is in flight.

        Raises:
            NoStablePackageError: If *goal* is None and no earlier package is known to be good.
        """
        loaded = self.load(deployment_id)
        goal = goal or loaded.state.deployment.previous
        if goal is None:
            raise NoStablePackageError(
                group=loaded.state.deployment.group, hint="name one: rollback --to VERSION, or abort"
            )
        return self.act(deployment_id, GiveUp(actor=actor, reason=reason, rollback_to=goal), now=now)

    def follow_rollback(self, aborted_id: int, group: str, goal: PackageRef, *, now: datetime) -> int:
        """
        Create the rollback that was asked for together with an abort; return its id, or that of a newer deployment.

        Raises:
            EmptyGroupError: If no instance can take part now; it stays asked for, but no longer than until something
                newer is deployed to the group.
        """
        config = self.load(aborted_id).state.deployment.config
        planned = self.plan(
            group,
            kind=Kind.ROLLBACK,
            config=config,
            goal=goal,
            actor="engine",
            reason=f"rollback of deployment {aborted_id}",
        )
        try:
            return self.create(planned, now=now)
        except DeploymentActiveError as busy:
            # Somebody deployed first: what was created then follows the abort.
            return int(str(busy.facts["deployment_id"]))


def _implied_goal(fleet: Fleet, kind: Kind) -> PackageRef:
    goal = fleet.before_stable if kind is Kind.ROLLBACK else fleet.stable
    if kind is Kind.ROLLOUT or goal is None:
        raise NoStablePackageError(group=fleet.group, hint="name the version to release")
    return goal


def _check_rollback(fleet: Fleet, goal: PackageRef) -> None:
    """
    Return if a rollback may lead to *goal*.

    It asks for no approval and has no canary, so it never brings what has not passed both before.
    """
    if goal not in fleet.good:
        raise NeverReleasedError(group=fleet.group, version=goal.version, possible=[one.version for one in fleet.good])


def _previous(fleet: Fleet, goal: PackageRef) -> PackageRef | None:
    """Return what to restore or roll back to: the stable package, or the one before it where that is the goal."""
    return next((one for one in (fleet.stable, fleet.before_stable) if one and one.id != goal.id), None)
