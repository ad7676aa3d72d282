"""
Small groups, exhaustively: every state that the real core can reach, whatever workers and operators do.

From the plan on, each target's chain moves one stage at a time, in every order, with every outcome (success, failure, lost
and read back either way), while an operator brakes, resumes, retries, aborts, bakes, rolls out, holds and lifts the hold.
Every law is checked after every step. Names that do not matter are canonical (slice numbers, attempts beyond the second),
so the walk closes without any bound on how often things happen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain.actions import open_actions
from rollwave.domain.commands import Action
from rollwave.domain.config import BatchMode, DeploymentConfig, FailurePolicy
from rollwave.domain.decide import Decision
from rollwave.domain.model import Brake, BrakeCause, Course, Entry, Failure, Instance, Kind, Phase, Stage, State, Target
from rollwave.domain.progress import next_due
from tests.property.domain.world import (
    GOAL,
    NOON,
    OLD,
    Outcome,
    World,
    absorb,
    begin,
    check,
    check_rest,
    decided,
    follow_flags,
    hear,
    outcomes,
    tell,
    work,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = {
    Action.START: cmd.Start(actor="ann"),
    Action.BAKE: cmd.Bake(actor="ann"),
    Action.ROLLOUT: cmd.RollOut(actor="ann"),
    Action.NEXT: cmd.NextBatch(actor="ann"),
    Action.BRAKE: cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR),
    Action.RESUME: cmd.Resume(actor="ann"),
    Action.RETRY: cmd.Retry(actor="ann"),
    Action.RAISE_LIMIT: cmd.RaiseLimit(actor="ann", max_unavailable_percent=50),
    Action.ABORT: cmd.GiveUp(actor="ann"),
}
FAILURE = Failure(code="", message="", stage=Stage.VERIFY)
NEEDED = (Action.START, Action.BAKE, Action.ROLLOUT, Action.NEXT)
"""What a release without faults needs a person for."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A small group and what may happen to it."""

    fleet: tuple[Instance, ...]
    config: DeploymentConfig
    kind: Kind = Kind.ROLLOUT
    actions: tuple[Action, ...] = tuple(COMMANDS)
    faults: tuple[Outcome, ...] = (Outcome.FAIL, Outcome.LOSE, Outcome.UNREACHABLE)
    holds: tuple[int, ...] = ()
    """Instances of which one at a time may be held."""
    judges: bool = False
    """A monitor may condemn a bake."""


@dataclass(kw_only=True)
class Walk:
    """What a walk has seen."""

    model: Model
    worlds: dict[object, int] = field(default_factory=dict)
    finals: dict[int, World] = field(default_factory=dict)
    back: list[list[int]] = field(default_factory=list)
    """For each world the worlds that lead to it."""
    aborting: set[int] = field(default_factory=set)
    states: dict[object, State] = field(default_factory=dict)
    answers: dict[object, Decision] = field(default_factory=dict)
    holds: dict[object, State] = field(default_factory=dict)
    step_count: int = 0

    def ask(self, state: State, event: cmd.Command | cmd.Observation, now: datetime) -> Decision:
        """Ask the real core, once for each canonical state and event."""
        key = (id(state), event, now)
        answer = self.answers.get(key)
        if answer is None:
            decision = decided(state, event, now)
            after = self.remember(decision.state, now)
            check_rest(after, NOON)
            answer = self.answers[key] = replace(decision, state=after)
        return answer

    def remember(self, state: State, now: datetime = NOON) -> State:
        """Return the canonical state that stands for *state*."""
        state = canonical(state, now=now)
        return self.states.setdefault(state_key(state), state)

    def held(self, state: State, instance_id: int, *, hold: bool) -> State:
        """Return *state* with the hold of one instance raised or cleared."""
        key = (id(state), instance_id, hold)
        if key not in self.holds:
            fleet = {**state.fleet, instance_id: replace(state.fleet[instance_id], hold=hold)}
            self.holds[key] = self.remember(replace(state, fleet=fleet))
        return self.holds[key]

    def number(self, world: World) -> int:
        """Return the number of *world*; check it when it is seen first."""
        drives = tuple(sorted(world.drives.items()))
        key = (id(world.state), tuple(world.reality.values()), drives, world.approved)
        number = self.worlds.setdefault(key, len(self.worlds))
        if number == len(self.back):
            self.back.append([])
            check(world)
            if world.state.deployment.phase.is_final:
                self.finals[number] = world
            if world.state.deployment.abort:
                self.aborting.add(number)
        return number


def explore(model: Model) -> Walk:
    """Visit every world that can be reached, check each, and return what was seen."""
    walk = Walk(model=model)
    world, _ = begin(model.fleet, model.config, kind=model.kind)
    world = world._replace(state=walk.remember(world.state))
    todo = [(walk.number(world), world)]
    while todo:
        origin, world = todo.pop()
        for following in successors(walk, world):
            walk.step_count += 1
            known_count = len(walk.worlds)
            number = walk.number(following)
            walk.back[number].append(origin)
            if number == known_count:
                todo.append((number, following))
    return walk


def successors(walk: Walk, world: World) -> Iterator[World]:
    """Return every world that one step leads to."""
    model, state, ask = walk.model, world.state, walk.ask
    for instance_id in world.drives:
        for outcome in outcomes(world, instance_id):
            if outcome in (Outcome.SUCCEED, Outcome.LEAVE) or outcome in model.faults:
                after, report = work(world, instance_id, outcome)
                yield hear(after, report, ask=ask) if report else after
    for action in open_actions(state):
        if action in model.actions:
            yield tell(world, COMMANDS[action], ask=ask)
    for slice_ in state.deployment.slices.values():
        if slice_.course is Course.PRESTAGE:
            yield hear(world, cmd.SliceReported(slice=slice_.number, done=True), ask=ask)
    if model.judges and state.deployment.phase is Phase.BAKING:
        yield tell(world, cmd.BakeJudged(actor="monitor", reason="errors rise"), ask=ask)
    held = [one for one in model.holds if state.fleet[one].hold]
    for instance_id in held or model.holds:
        yield with_hold(walk, world, instance_id, hold=not held)
    due_at = next_due(state)
    if due_at and due_at > NOON:
        yield absorb(world, ask(state, cmd.TimeCame(), due_at))


def with_hold(walk: Walk, world: World, instance_id: int, *, hold: bool) -> World:
    """Let an operator hold an instance, or lift the hold; the core looks again."""
    return tell(follow_flags(world._replace(state=walk.held(world.state, instance_id, hold=hold))), cmd.FleetChanged(), ask=walk.ask)


def canonical(state: State, *, now: datetime) -> State:
    """Return *state* with every name that does not matter replaced by the first of its kind, as seen from noon."""
    deployment = state.deployment
    rank = {number: index for index, number in enumerate(sorted(deployment.slices), start=1)}

    def due(at: datetime | None) -> datetime | None:
        return at and max(NOON, NOON + (at - now))

    return State(
        deployment=replace(
            deployment,
            brake=deployment.brake and Brake(cause=BrakeCause.OPERATOR, reason=""),
            batches=tuple(replace(batch, due_at=due(batch.due_at)) for batch in deployment.batches),
            slices={rank[number]: replace(one, number=rank[number]) for number, one in deployment.slices.items()},
            last_slice=len(rank),
            bake_due_at=due(deployment.bake_due_at),
        ),
        targets={
            one: Target(
                instance_id=one,
                batch=target.batch,
                standing=target.standing,
                attempt=min(target.attempt, 2),
                entry=target.entry if target.slice else Entry.FULL,
                slice=rank[target.slice] if target.slice else None,
                failure=target.failure and FAILURE if target.slice else None,
            )
            for one, target in state.targets.items()
        },
        fleet={
            one: replace(instance, version=GOAL.version if instance.version == GOAL.version else OLD.version)
            for one, instance in state.fleet.items()
        },
    )


def state_key(state: State) -> object:
    deployment = state.deployment
    return (
        deployment.phase,
        deployment.brake is None,
        deployment.abort is None,
        deployment.bake_due_at,
        deployment.config.max_unavailable_percent,
        deployment.batches,
        tuple(deployment.slices.items()),
        tuple(state.targets.values()),
        tuple(state.fleet.values()),
    )


def test_measure():
    import time

    fleet = tuple(Instance(id=n, name=str(n), server=f"s{n}", site="A", version=OLD.version) for n in range(1, 4))
    t = time.time()
    walk = explore(
        Model(fleet=fleet, config=DeploymentConfig(prestage=False, canary_count=1, max_unavailable_percent=33))
    )
    print(len(walk.worlds), len(walk.states), walk.step_count, len(walk.finals), time.time() - t)
    assert 0
