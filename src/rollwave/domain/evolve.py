"""The fold: what a state becomes when a fact happened. No rule decides anything here."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rollwave.domain import facts
from rollwave.domain.commands import Action
from rollwave.domain.model import (
    Abort,
    Batch,
    Brake,
    Course,
    Deployment,
    Entry,
    Instance,
    Slice,
    Stage,
    Standing,
    State,
    Target,
)
from rollwave.domain.tally import carry_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def planned(deployment_id: int, fact: facts.Planned, *, fleet: Mapping[int, Instance]) -> State:
    """Return the state in which a deployment begins."""
    batches = tuple(
        Batch(number=number, canary=fact.has_canary and number == 1) for number in range(1, len(fact.batches) + 1)
    )
    targets = {
        instance_id: Target(instance_id=instance_id, batch=number)
        for number, instance_ids in enumerate(fact.batches, start=1)
        for instance_id in instance_ids
    }
    deployment = Deployment(
        id=deployment_id,
        group=fact.group,
        kind=fact.kind,
        goal=fact.goal,
        previous=fact.previous,
        config=fact.config,
        initial=fact.initial,
        starts=fact.starts,
        batches=batches,
        actor=fact.actor,
    )
    return State(deployment=deployment, targets=targets, fleet=fleet)


@singledispatch
def evolve(_fact: facts.Fact, state: State) -> State:
    """Return *state* after *fact*; a kind of fact without a rule of its own changes nothing."""
    return state


def fold(state: State, log: Iterable[facts.Fact]) -> State:
    """Return *state* after every fact of *log*, in order."""
    for fact in log:
        state = evolve(fact, state)
    return state


def touched(log: Iterable[facts.Fact]) -> frozenset[int]:
    """Return the ids of the instances whose target or flags the facts of *log* may have changed."""
    return frozenset(instance_id for fact in log for instance_id in _touched(fact))


def _touched(fact: facts.Fact) -> Iterable[int]:
    match fact:
        case facts.SliceOpened(entries=pairs) | facts.TargetsFailing(failures=pairs):
            return (instance_id for instance_id, _ in pairs)
        case facts.TargetsSettled(settlements=settlements):
            return (settlement.instance_id for settlement in settlements)
        case facts.TargetsLeft(instance_ids=instance_ids) | facts.TargetsReset(instance_ids=instance_ids):
            return instance_ids
    return ()


def _with_deployment(state: State, **changes: Any) -> State:
    return carry_on(state, state.having(deployment=replace(state.deployment, **changes)))


def _with_batch(state: State, number: int, **changes: Any) -> State:
    batches = list(state.deployment.batches)
    batches[number - 1] = replace(batches[number - 1], **changes)
    return _with_deployment(state, batches=tuple(batches))


def _with_targets(
    state: State, targets: Iterable[Target], *, instances: Iterable[Instance] = (), deployment: Deployment | None = None
) -> State:
    changed = {target.instance_id: target for target in targets}
    flagged = {instance.id: instance for instance in instances}
    after = state.having(
        targets={**state.targets, **changed},
        fleet={**state.fleet, **flagged} if flagged else state.fleet,
        deployment=deployment or state.deployment,
    )
    return carry_on(state, after, changed)


@evolve.register
def _(fact: facts.CommandAccepted, state: State) -> State:
    return _with_deployment(state, approved_by=fact.actor) if fact.action is Action.APPROVE else state


@evolve.register
def _(fact: facts.PhaseChanged, state: State) -> State:
    return _with_deployment(state, phase=fact.phase, bake_due_at=None)


@evolve.register
def _(_fact: facts.BakeApproved, state: State) -> State:
    # A bake that is approved again is watched for a whole window again.
    return _with_deployment(state, bake_due_at=None)


@evolve.register
def _(fact: facts.BakeWindowOpened, state: State) -> State:
    return _with_deployment(state, bake_due_at=fact.due_at)


@evolve.register
def _(fact: facts.Braked, state: State) -> State:
    brake = Brake(cause=fact.cause, reason=fact.reason, failed_count=fact.failed_count, limit_count=fact.limit_count)
    return _with_deployment(state, brake=brake)


@evolve.register
def _(_fact: facts.BrakeReleased, state: State) -> State:
    return _with_deployment(state, brake=None)


@evolve.register
def _(fact: facts.AbortRequested, state: State) -> State:
    return _with_deployment(state, abort=Abort(reason=fact.reason, rollback_to=fact.rollback_to))


@evolve.register
def _(fact: facts.LimitRaised, state: State) -> State:
    config = replace(state.deployment.config, max_unavailable_percent=fact.max_unavailable_percent)
    return _with_deployment(state, config=config)


@evolve.register
def _(fact: facts.BatchScheduled, state: State) -> State:
    return _with_batch(state, fact.number, due_at=fact.due_at)


@evolve.register
def _(fact: facts.BatchReleased, state: State) -> State:
    return _with_batch(state, fact.number, released=True)


@evolve.register
def _(fact: facts.BatchOpened, state: State) -> State:
    return _with_batch(state, fact.number, opened=True)


@evolve.register
def _(fact: facts.SliceOpened, state: State) -> State:
    instance_ids = tuple(instance_id for instance_id, _ in fact.entries)
    opened = Slice(number=fact.number, course=fact.course, instance_ids=instance_ids)
    deployment = replace(
        state.deployment, slices={**state.deployment.slices, fact.number: opened}, last_slice=fact.number
    )
    if fact.course is Course.PRESTAGE:
        return state.having(deployment=deployment)
    admitted = (
        replace(state.targets[instance_id], standing=Standing.IN_FLIGHT, entry=entry, slice=fact.number)
        for instance_id, entry in fact.entries
    )
    return _with_targets(state, admitted, deployment=deployment)


@evolve.register
def _(fact: facts.SliceClosed, state: State) -> State:
    slices = {number: slice_ for number, slice_ in state.deployment.slices.items() if number != fact.number}
    return _with_deployment(state, slices=slices)


@evolve.register
def _(fact: facts.TargetsFailing, state: State) -> State:
    return _with_targets(
        state, (replace(state.targets[instance_id], failure=failure) for instance_id, failure in fact.failures)
    )


@evolve.register
def _(fact: facts.TargetsSettled, state: State) -> State:
    targets = []
    instances = []
    for settled in fact.settlements:
        before = state.targets[settled.instance_id]
        targets.append(
            replace(
                before,
                standing=settled.standing,
                slice=None,
                stage=settled.stage,
                progress=settled.progress,
                failure=settled.failure,
                restored=settled.restored,
            )
        )
        instance = state.fleet[settled.instance_id]
        # A target that left before its first stage has not been touched, nor has one that was only asked for a proof;
        # but a canary that was to be baked was out of traffic before.
        untouched = settled.stage in (None, Stage.PROVE) and before.entry is not Entry.BAKE
        if settled.standing is Standing.SUCCESS or settled.restored:
            instance = replace(instance, failed=False, new=False, version=settled.version)
        elif settled.standing is Standing.VERIFIED:
            instance = replace(instance, version=settled.version)
        elif settled.standing is Standing.FAILED or not untouched:
            # Somebody must look at it, or a later attempt must prove it, before it takes traffic again.
            instance = replace(instance, failed=True, version=settled.version)
        instances.append(instance)
    return _with_targets(state, targets, instances=instances)


@evolve.register
def _(fact: facts.TargetsLeft, state: State) -> State:
    left = [state.targets[instance_id] for instance_id in fact.instance_ids]
    waiting = [target.instance_id for target in left if target.standing is Standing.VERIFIED]
    return _with_targets(
        state,
        (replace(target, standing=Standing.LEFT) for target in left),
        # A canary that nobody approved is out of traffic on the new version, and stays out until it is proven again.
        instances=(replace(state.fleet[instance_id], failed=True) for instance_id in waiting),
    )


@evolve.register
def _(fact: facts.TargetsReset, state: State) -> State:
    again = (state.targets[instance_id] for instance_id in fact.instance_ids)
    return _with_targets(
        state,
        (Target(instance_id=target.instance_id, batch=target.batch, attempt=target.attempt + 1) for target in again),
    )
