"""The people: one operator per group, who releases again and again, mostly sensibly, and at times clicks at random."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, TypeVar

from rollwave.domain import commands as cmd
from rollwave.domain.actions import open_actions
from rollwave.domain.commands import Action
from rollwave.domain.errors import (
    ActionNotAllowedError,
    DeploymentActiveError,
    EmptyGroupError,
    InvalidValueError,
    NoStablePackageError,
    NotFoundError,
    StateConflictError,
)
from rollwave.domain.model import BrakeCause, Kind, PackageRef, Phase, Standing
from rollwave.ports.store import CommandKey
from rollwave.testing.simulation.history import Violation
from rollwave.testing.simulation.process import StoreLink
from rollwave.testing.simulation.scenario import APPROVED, Trouble, config_of
from rollwave.testing.simulation.store import StoreDownError
from rollwave.testing.simulation.web import Web, WebDiedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from rollwave.domain.model import State
    from rollwave.engine.releases import Releases
    from rollwave.ports.store import Fleet
    from rollwave.testing.simulation.scenario import GroupPlan
    from rollwave.testing.simulation.world import World

TRIES: Final = 4
"""How often a deployment that failed is helped along before it is given up."""

PATIENCE_S: Final = 240.0
"""After how long without any change a deployment that waits for room is given up, in seconds."""

_PLAIN: Final[Mapping[Action, Callable[..., cmd.Command]]] = {
    # Somebody else: who asked cannot approve.
    Action.APPROVE: lambda *, actor, reason: cmd.Approve(actor=f"{actor}'s colleague", reason=reason),
    Action.START: cmd.Start,
    Action.BAKE: cmd.Bake,
    Action.ROLLOUT: cmd.RollOut,
    Action.NEXT: cmd.NextBatch,
    Action.RESUME: cmd.Resume,
    Action.RETRY: cmd.Retry,
}

GIVES_UP: Final = 0.3
"""How often somebody whose connection broke does not send a request again, and looks what came of it instead."""

T = TypeVar("T")

_FAILED: Final = (Phase.VERIFY_FAILURE, Phase.BAKE_FAILURE, Phase.FAILURE)


class Operator:
    """
    Works on one group through the use cases, which a web process has.

    Args:
        world: Where.
        plan: The group, and how many releases it gets.
    """

    def __init__(self, world: World, plan: GroupPlan) -> None:
        self._world = world
        self._plan = plan
        self._dice = world.dice(f"operator/{plan.name}")
        # A stream of its own: it came later, and older seeds stay the worlds that they were.
        self._approvals = world.dice(f"approvals/{plan.name}")
        self._web = Web(world, plan.name, StoreLink(world, self._dice))
        self._late = list(plan.late_places)
        self._keys = 0
        self._sent: list[tuple[int, cmd.Command, CommandKey]] = []
        self._version = 0

    async def work(self) -> None:
        """Make all releases of the plan, each to its end."""
        for _ in range(self._plan.release_count):
            deployment_id = await self._release()
            while deployment_id is not None:
                await self._see_through(deployment_id)
                deployment_id = await self._follow_up(deployment_id)
            await self._let_go_of_holds()
            await asyncio.sleep(self._dice.after(3))
        await self._see_the_last_off()

    async def _see_the_last_off(self) -> None:
        """A rollback that had to wait may have begun once the holds were lifted."""
        over_at = max(self._world.scenario.storm_s, self._web.busy_until)
        await asyncio.sleep(max(0.0, over_at - self._world.loop.time()) + 10)
        while active := (await self._fleet()).active:
            await self._see_through(int(active[0]))
            await asyncio.sleep(5)

    # --- releasing ---

    def _asks(self) -> bool:
        return self._world.scenario.seed % APPROVED == APPROVED - 3 and self._approvals.chance(0.5)

    async def _release(self) -> int | None:
        group = self._plan.name
        kind = self._dice.pick((Kind.ROLLOUT, Kind.ROLLOUT, Kind.ROLLOUT, Kind.ROLLBACK, Kind.SCALE_OUT, Kind.REROLL))
        fleet = await self._fleet()
        if fleet.active is not None:
            return int(fleet.active[0])
        if kind is Kind.SCALE_OUT and self._late:
            self._world.add_instance(group, self._late.pop())
        if kind is Kind.ROLLBACK and fleet.before_stable is None:
            kind = Kind.ROLLOUT
        if fleet.stable is None:
            kind = Kind.ROLLOUT
        try:
            key = self._key()
            config = config_of(self._dice, asks=self._asks())
            goal = self._goal() if kind is Kind.ROLLOUT else None
            starts = not self._dice.chance(0.2)
            planned = await self._ask(
                lambda use: use.plan(
                    group, kind=kind, config=config, goal=goal, starts=starts, actor="ann", reason=key.key
                )
            )
            now = self._world.clock.now()
            deployment_id = await self._ask(
                lambda use: use.create(planned, now=now, command=key), times=self._times(), is_command=True
            )
        except (NoStablePackageError, EmptyGroupError, StateConflictError) as error:
            self._world.history.add("ann", f"cannot release: {error}")
            return None
        except DeploymentActiveError as busy:
            return int(str(busy.facts["deployment_id"]))
        except WebDiedError:
            self._world.history.add("ann", f"gives {key.key} up")
            return None
        self._world.oracle.acknowledged.add(key.key)
        return deployment_id

    def _goal(self) -> PackageRef:
        if Trouble.BAD_VERSION in self._world.scenario.troubles and self._dice.chance(0.4):
            return self._world.bad_packages[self._dice.whole(0, 1)]
        good = self._world.good_packages
        if not self._dice.chance(0.2):
            self._version += 1
        return good[self._version % len(good)]

    async def _follow_up(self, deployment_id: int) -> int | None:
        """Return the rollback that follows an aborted deployment, if one was asked for."""
        state = await self._state(deployment_id)
        abort = state.deployment.abort
        if not (abort and abort.rollback_to):
            return None
        waits_until = max(self._world.loop.time(), self._world.scenario.storm_s) + 120
        while deployment_id in await self._ask(
            lambda use: [aborted_id for aborted_id, _, _ in use.store.unfollowed_rollbacks()]
        ):
            await asyncio.sleep(1)
            if self._world.loop.time() > waits_until:
                await self._check_impossible(abort.rollback_to, state)
                return None
        fleet = await self._fleet()
        return int(fleet.active[0]) if fleet.active else None

    async def _check_impossible(self, goal: PackageRef, aborted: State) -> None:
        """I19: a rollback that was asked for and is possible has to follow."""
        try:
            config = aborted.deployment.config
            await self._ask(
                lambda use: use.plan(self._plan.name, kind=Kind.ROLLBACK, config=config, goal=goal, actor="ann")
            )
        except EmptyGroupError:
            return
        self._world.violated(Violation("I19", f"the rollback that follows d{aborted.deployment.id} never began"))

    async def _let_go_of_holds(self) -> None:
        for instance in (await self._fleet()).instances:
            if instance.hold:
                await self._hold(instance.id, hold=False)

    # --- seeing it through ---

    async def _see_through(self, deployment_id: int) -> None:
        helped = 0
        seen, seen_at = None, 0.0
        is_meddler = Trouble.MEDDLER in self._world.scenario.troubles
        while True:
            await asyncio.sleep(self._dice.between(0.3, 4))
            state = await self._state(deployment_id)
            if state.deployment.phase.is_final:
                return
            if is_meddler and not self._world.storm.is_over and self._dice.chance(0.2):
                await self._meddle(state)
                continue
            action = self._sensible(state, helped=helped)
            if state != seen:
                seen, seen_at = state, self._world.loop.time()
            if action is None and self._world.loop.time() - seen_at > PATIENCE_S and not state.in_flight:
                # It waits for room that never comes: a neighbor's broken instances hold it.
                action = Action.ABORT if Action.ABORT in open_actions(state) else None
            if action is None:
                continue
            if action in (Action.RETRY, Action.RESUME, Action.RAISE_LIMIT):
                helped += 1
            if action is Action.RETRY and self._dice.chance(0.2):
                await self._hold_one_that_failed(state)
            await self._click(state, action)

    def _sensible(self, state: State, *, helped: int) -> Action | None:
        """Return what a sensible person does now; None to wait."""
        available = open_actions(state)
        for action in (Action.APPROVE, Action.START, Action.BAKE, Action.ROLLOUT, Action.NEXT):
            if action in available:
                return action
        deployment = state.deployment
        if deployment.abort or state.in_flight or not (deployment.brake or deployment.phase in _FAILED):
            return None
        if helped < TRIES:
            helpful = [one for one in (Action.RETRY, Action.RESUME, Action.RAISE_LIMIT) if one in available]
            if helpful:
                return helpful[0] if self._dice.chance(0.8) else self._dice.pick(helpful)
        if Action.ROLLBACK in available and self._dice.chance(0.5):
            return Action.ROLLBACK
        return Action.ABORT if Action.ABORT in available else None

    async def _meddle(self, state: State) -> None:
        if self._dice.chance(0.3):
            await self._repeat_an_old_one()
            return
        if self._dice.chance(0.4):
            instance = self._dice.pick(tuple(state.fleet.values()))
            await self._hold(instance.id, hold=not instance.hold)
            return
        asks = state.deployment.config.requires_approval
        every = [one for one in Action if one is not Action.APPROVE or asks]
        gentle = [one for one in every if one not in (Action.ABORT, Action.ROLLBACK)]
        await self._click(state, self._dice.pick(gentle if self._dice.chance(0.7) else every))

    async def _hold_one_that_failed(self, state: State) -> None:
        failed = [one.instance_id for one in state.targets.values() if one.standing is Standing.FAILED]
        if len(failed) > 1:
            await self._hold(self._dice.pick(failed), hold=True)

    async def _hold(self, instance_id: int, *, hold: bool) -> None:
        now = self._world.clock.now()
        with contextlib.suppress(NotFoundError):
            await self._ask(lambda use: use.set_hold(instance_id, hold=hold, actor="ann", reason="looking", now=now))

    async def set_offline(self, server: str, *, offline: bool) -> None:
        """Take a server that is gone out of every group, or back."""
        store = self._world.store
        for deployment_id in await self._ask(lambda _use: store.set_offline(server, offline=offline)):
            await self._look_again(deployment_id, now=self._world.clock.now())

    async def _look_again(self, deployment_id: int, *, now: datetime) -> None:
        await self._ask(lambda use: use.act(deployment_id, cmd.FleetChanged(), now=now))

    async def _click(self, state: State, action: Action) -> None:
        key = self._key()
        command = self._command(state, action, reason=key.key)
        deployment_id, now = state.deployment.id, self._world.clock.now()
        self._world.history.add("ann", f"{action.value} d{deployment_id} as {key.key}")
        try:
            await self._ask(
                lambda use: use.act(deployment_id, command, now=now, command=key), times=self._times(), is_command=True
            )
        except WebDiedError:
            self._world.history.add("ann", f"gives {key.key} up")
            self._sent.append((deployment_id, command, key))
            return
        except (ActionNotAllowedError, InvalidValueError, StateConflictError) as refused:
            # A repetition may find closed what the first call did: the doorway asks for the key then, as the API does.
            if not self._world.store.knows(key.key):
                self._world.history.add("ann", f"was refused: {refused.message}")
                return
        self._world.oracle.acknowledged.add(key.key)
        self._sent.append((deployment_id, command, key))

    def _command(self, state: State, action: Action, *, reason: str) -> cmd.Command:
        deployment = state.deployment
        if action in _PLAIN:
            return _PLAIN[action](actor="ann", reason=reason)
        if action is Action.BRAKE:
            return cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR, reason=reason)
        if action is Action.RAISE_LIMIT:
            least = min(deployment.config.max_unavailable_percent + 1, 50)
            return cmd.RaiseLimit(actor="ann", reason=reason, max_unavailable_percent=self._dice.whole(least, 50))
        return cmd.GiveUp(
            actor="ann", reason=reason, rollback_to=deployment.previous if action is Action.ROLLBACK else None
        )

    async def _repeat_an_old_one(self) -> None:
        """A client or a proxy sends again what was accepted long ago: it must not happen again (I22)."""
        if not self._sent:
            return
        deployment_id, command, key = self._dice.pick(self._sent)
        self._world.history.add("ann", f"sends {key.key} again")
        now = self._world.clock.now()
        with contextlib.suppress(ActionNotAllowedError, InvalidValueError, StateConflictError):
            await self._ask(lambda use: use.act(deployment_id, command, now=now, command=key))

    # --- asking ---

    async def _fleet(self) -> Fleet:
        return await self._ask(lambda use: use.store.fleet(self._plan.name))

    async def _state(self, deployment_id: int) -> State:
        return await self._ask(lambda use: use.load(deployment_id).state)

    def _key(self) -> CommandKey:
        self._keys += 1
        key = f"{self._plan.name}-{self._keys}"
        return CommandKey(key=key, digest=key)

    def _times(self) -> int:
        """An impatient client sends the same request again."""
        return 2 if self._world.scenario.troubles and self._dice.chance(0.2) else 1

    async def _ask(self, use: Callable[[Releases], T], *, times: int = 1, is_command: bool = False) -> T:
        """
        Ask until an answer comes, with the same command key, as a client does that hears nothing.

        Raises WebDiedError where a command is given up.
        """
        while True:
            try:
                answer = await self._web.ask(use, may_freeze=is_command)
            except StoreDownError:
                await asyncio.sleep(self._dice.after(1))
                continue
            except WebDiedError:
                if is_command and self._dice.chance(GIVES_UP):
                    raise
                await asyncio.sleep(self._dice.after(1))
                continue
            times -= 1
            if times <= 0:
                return answer
