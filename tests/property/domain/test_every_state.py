"""
Small groups, exhaustively: every state that the real core can reach, whatever workers and operators do.

From the plan on, each target's chain moves one stage at a time, in every order, with every outcome (success, failure,
lost and read back either way), while an operator brakes, resumes, retries, aborts, bakes, rolls out, holds and lifts
the hold. Every law is checked after every step. Names that do not matter are canonical (slice numbers, attempts beyond
the second, why a brake was set), so the walk closes by itself, without a bound on how often things happen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from rollwave.domain import commands as cmd
from rollwave.domain.actions import open_actions
from rollwave.domain.commands import Action
from rollwave.domain.config import BakePolicy, BatchMode, DeploymentConfig, FailurePolicy
from rollwave.domain.model import (
    Brake,
    BrakeCause,
    Course,
    Entry,
    Failure,
    Instance,
    Kind,
    Phase,
    Stage,
    Standing,
    State,
    Target,
)
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
    from datetime import datetime

    from rollwave.domain.decide import Decision

COMMANDS = {
    Action.APPROVE: cmd.Approve(actor="bob", reason="ticket 7"),
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
NEEDED = (Action.APPROVE, Action.START, Action.BAKE, Action.ROLLOUT, Action.NEXT)
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
    offers: dict[int, tuple[tuple[cmd.Command | cmd.Observation, datetime], ...]] = field(default_factory=dict)
    """By canonical state: what can happen beside the work on targets and the holds, and when."""
    step_count: int = 0

    def ask(self, state: State, event: cmd.Command | cmd.Observation, now: datetime) -> Decision:
        """Ask the real core, once for each canonical state and event."""
        key = (id(state), event, now)
        answer = self.answers.get(key)
        if answer is None:
            decision = decided(state, event, now)
            after = self.remember(decision.state, now)
            if id(after) not in self.offers:
                check_rest(after, NOON)
                self.offers[id(after)] = offers(self.model, after)
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
            self.holds[key] = self.remember(state.having(fleet=fleet))
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
    first = walk.remember(world.state)
    walk.offers[id(first)] = offers(model, first)
    world = world._replace(state=first)
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
    for event, now in walk.offers[id(state)]:
        yield absorb(world, ask(state, event, now))
    held = [one for one in model.holds if state.fleet[one].hold]
    for instance_id in held or model.holds:
        yield with_hold(walk, world, instance_id, hold=not held)


def offers(model: Model, state: State) -> tuple[tuple[cmd.Command | cmd.Observation, datetime], ...]:
    """Return what people, monitors and the clock can do in *state*, and when."""
    found = [(COMMANDS[action], NOON) for action in open_actions(state) if action in model.actions]
    ahead = (one.number for one in state.deployment.slices.values() if one.course is Course.PRESTAGE)
    found.extend((cmd.SliceReported(slice=number, done=True), NOON) for number in ahead)
    if model.judges and state.deployment.phase is Phase.BAKING:
        found.append((cmd.BakeJudged(actor="monitor", reason="errors rise"), NOON))
    due_at = next_due(state)
    if due_at and due_at > NOON:
        found.append((cmd.TimeCame(), due_at))
    return tuple(found)


def with_hold(walk: Walk, world: World, instance_id: int, *, hold: bool) -> World:
    """Let an operator hold an instance, or lift the hold; the core looks again."""
    return tell(
        follow_flags(world._replace(state=walk.held(world.state, instance_id, hold=hold))),
        cmd.FleetChanged(),
        ask=walk.ask,
    )


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
        deployment.needs_approval,
        deployment.bake_due_at,
        deployment.config.max_unavailable_percent,
        deployment.batches,
        tuple(deployment.slices.items()),
        tuple(state.targets.values()),
        tuple(state.fleet.values()),
    )


def fleet_of(count: int, **changes: object) -> tuple[Instance, ...]:
    one = Instance(**{"id": 0, "name": "", "server": "", "site": "A", "version": OLD.version, **changes})
    return tuple(
        replace(one, id=number, name=f"shop/s{number}:80", server=f"s{number}") for number in range(1, count + 1)
    )


def broken(fleet: tuple[Instance, ...], *ids: int) -> tuple[Instance, ...]:
    return tuple(replace(one, failed=True) if one.id in ids else one for one in fleet)


def config(percent: int, **settings: object) -> DeploymentConfig:
    return DeploymentConfig(**{"max_unavailable_percent": percent, "canary_count": 0, "prestage": False, **settings})


def reaching(walk: Walk, phase: Phase) -> set[int]:
    """Return the worlds from which some steps lead to a deployment that ended in *phase*."""
    todo = [number for number, world in walk.finals.items() if world.state.deployment.phase is phase]
    reached = set(todo)
    while todo:
        for origin in walk.back[todo.pop()]:
            if origin not in reached:
                reached.add(origin)
                todo.append(origin)
    return reached


FAIL_ONLY = (Outcome.FAIL,)
RESTORE = FailurePolicy.RESTORE
USUAL = tuple(action for action in COMMANDS if action is not Action.RAISE_LIMIT)
PLAIN = (*NEEDED, Action.RETRY, Action.RESUME)
MODELS = {
    # The number of worlds is part of the claim: a walk that has become shorter no longer looks everywhere.
    "four, two at a time": (
        Model(fleet=fleet_of(4), config=config(50), actions=USUAL, faults=(Outcome.FAIL, Outcome.LOSE)),
        292_801,
    ),
    "three behind a canary, every fault, a hold, verdicts": (
        Model(fleet=fleet_of(3), config=config(33, canary_count=1), actions=USUAL, holds=(1,), judges=True),
        4_610,
    ),
    "three behind a canary, holds of two": (
        Model(fleet=fleet_of(3), config=config(33, canary_count=1), actions=USUAL, faults=FAIL_ONLY, holds=(1, 2)),
        27_882,
    ),
    "four behind two canaries, restored": (
        Model(
            fleet=fleet_of(4),
            config=config(50, canary_count=2, on_target_failure=RESTORE),
            actions=PLAIN,
            faults=FAIL_ONLY,
        ),
        27_048,
    ),
    "rollback of three, two at a time, every fault": (
        Model(fleet=fleet_of(3), config=config(25), kind=Kind.ROLLBACK, actions=(*PLAIN, Action.BRAKE)),
        56_731,
    ),
    "rollback of three, two at a time, a hold": (
        Model(fleet=fleet_of(3), config=config(25), kind=Kind.ROLLBACK, actions=PLAIN, faults=FAIL_ONLY, holds=(1,)),
        20_117,
    ),
    "three by hand, with a bake window, fetching ahead": (
        Model(
            fleet=fleet_of(3),
            config=config(33, canary_count=1, batch_mode=BatchMode.MANUAL, bake_min_s=5, prestage=True),
            actions=USUAL,
        ),
        2_036,
    ),
    "three with pauses and a hold": (
        Model(
            fleet=fleet_of(3),
            config=config(33, batch_pause_s=5, tail_pause_s=1),
            actions=USUAL,
            faults=FAIL_ONLY,
            holds=(2,),
        ),
        20_418,
    ),
    "four, one broken before, the limit raised": (
        Model(
            fleet=broken(fleet_of(4), 3),
            config=config(25, canary_count=1),
            actions=(*PLAIN, Action.RAISE_LIMIT),
            faults=FAIL_ONLY,
        ),
        2_812,
    ),
    "two that somebody has to approve": (
        Model(fleet=fleet_of(2), config=config(50, requires_approval=True), actions=USUAL, faults=FAIL_ONLY),
        351,
    ),
    "two new ones beside two, a hold": (
        Model(
            fleet=(*fleet_of(2), *(replace(one, id=one.id + 2, new=True, version=None) for one in fleet_of(2))),
            config=config(50),
            kind=Kind.SCALE_OUT,
            actions=USUAL,
            holds=(3,),
        ),
        44_453,
    ),
}


@pytest.mark.parametrize(("model", "count"), MODELS.values(), ids=MODELS.keys())
def test_no_step_leads_to_a_world_that_breaks_a_law(model, count):
    """
    Every reachable world is visited, and in it every law holds: I1-I4, I6-I8, I10, I12-I14, I18, I21, I23, I24.

    And none is stuck: from each some steps lead on to SUCCESS or, once it is being given up, to ABORTED.
    """
    walk = explore(model)

    alive = set(range(len(walk.worlds))) - walk.aborting
    assert alive <= reaching(walk, Phase.SUCCESS), "stuck: no way leads on to success"
    assert walk.aborting <= reaching(walk, Phase.ABORTED), "stuck: no way leads to the end of an abort"
    assert len(walk.worlds) == count, f"{len(walk.worlds)} worlds, {len(walk.states)} states, {walk.step_count} steps"


GOOD = {
    "four, two at a time": (fleet_of(4), config(50), Kind.ROLLOUT),
    "four behind two canaries": (fleet_of(4), config(50, canary_count=2), Kind.ROLLOUT),
    "four, three of them broken": (broken(fleet_of(4), 2, 3, 4), config(25, canary_count=1), Kind.ROLLOUT),
    "eight by policy, with pauses, fetching ahead": (
        fleet_of(8),
        config(25, canary_count=1, bake_policy=BakePolicy.AUTO, bake_min_s=9, batch_pause_s=9, prestage=True),
        Kind.ROLLOUT,
    ),
    "six by hand": (fleet_of(6), config(33, canary_count=1, batch_mode=BatchMode.MANUAL), Kind.ROLLOUT),
    "five that never served": (fleet_of(5, new=True), config(40), Kind.ROLLOUT),
    "rollback of six": (fleet_of(6), config(1), Kind.ROLLBACK),
    "rollback of six, of what rolls out by hand": (fleet_of(6), config(1, batch_mode=BatchMode.MANUAL), Kind.ROLLBACK),
    "reroll of four": (fleet_of(4), config(50, canary_count=1), Kind.REROLL),
    "four that somebody has to approve": (fleet_of(4), config(50, requires_approval=True), Kind.ROLLOUT),
    "rollback of four, which nobody has to": (fleet_of(4), config(50, requires_approval=True), Kind.ROLLBACK),
}


@pytest.mark.parametrize(("fleet", "settings", "kind"), GOOD.values(), ids=GOOD.keys())
def test_without_faults_every_order_of_events_leads_to_success(fleet, settings, kind):
    """A good package, and only what a person is needed for: SUCCESS, with exactly one markup per target (I20)."""
    walk = explore(Model(fleet=fleet, config=settings, kind=kind, actions=NEEDED, faults=()))

    assert set(range(len(walk.worlds))) == reaching(walk, Phase.SUCCESS)
    for world in walk.finals.values():
        assert world.state.deployment.phase is Phase.SUCCESS
        assert set(world.markups.values()) == {1}
        assert {target.standing for target in world.state.targets.values()} == {Standing.SUCCESS}


def test_what_runs_the_goal_already_is_proven_and_not_taken_out():
    """Without faults a second release of the same package takes nobody out of traffic, and succeeds (I13, I20)."""
    fleet = fleet_of(4, version=GOAL.version)
    walk = explore(Model(fleet=fleet, config=config(50), actions=NEEDED, faults=()))

    assert set(range(len(walk.worlds))) == reaching(walk, Phase.SUCCESS)
    assert {world.untouched for world in walk.finals.values()} == {frozenset((1, 2, 3, 4))}
