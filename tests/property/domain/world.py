"""
The world that a release acts on, and the oracle that watches it.

The core under test decides; here is everything else, as small and as plain as it can be: what the balancer and the
hosts really do (`Reality`), and a worker that drives each target's chain one stage at a time (`Drive`). Every law is
judged from this truth and from the log, never from what the core believes about itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rollwave.domain import chain, facts
from rollwave.domain import commands as cmd
from rollwave.domain.budget import budget_of
from rollwave.domain.decide import Decision, decide
from rollwave.domain.evolve import evolve, planned, touched
from rollwave.domain.model import (
    Course,
    Entry,
    Failure,
    Instance,
    Kind,
    PackageRef,
    Phase,
    Progress,
    Stage,
    Standing,
    State,
)
from rollwave.domain.planner import is_initial, plan
from rollwave.domain.status import summarize
from rollwave.domain.tally import tally_of
from rollwave.domain.traffic import wants_traffic
from rollwave.words.standing import status_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.domain.config import DeploymentConfig

OLD = PackageRef(id=1, version="1.0")
GOAL = PackageRef(id=2, version="2.0")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)

GOING = (Phase.CANARY, Phase.VERIFY_SUCCESS, Phase.BAKING, Phase.BAKE_SUCCESS, Phase.ROLLING_OUT)
"""Phases in which something new could start, now or after an approval."""


class Outcome(Enum):
    """What becomes of the stage that a worker performs next."""

    SUCCEED = "succeed"
    FAIL = "fail"
    LOSE = "lose"
    """No answer: unknown, until it is read back to any of the others (I12)."""
    UNREACHABLE = "unreachable"
    """It happened, and nobody could be asked: the worker has to call it failed."""
    LEAVE = "leave"
    """The instance is held: the worker begins nothing more and lets go."""


class Reality(NamedTuple):
    """One instance, as the balancer and its host would show it."""

    in_traffic: bool
    version: str | None
    proven: bool
    """This version has proven itself since it was installed."""


BROKEN = (
    Reality(in_traffic=False, version=None, proven=False),
    Reality(in_traffic=False, version=GOAL.version, proven=False),
)
"""What an instance with the failed flag is worth: no proof of it counts any more. By whether it runs the goal."""


class Drive(NamedTuple):
    """Where a worker stands with one target."""

    stage: Stage
    last: Stage | None = None
    unknown: bool = False
    failed: bool = False
    """It failed and is being restored."""
    proved: bool = False
    """Verified or proven in this very attempt, and not installed again since."""
    seen: str | None = None
    """The version that the host told last."""


class World(NamedTuple):
    """
    Everything at one instant. A plain tuple, for an exhaustive walk makes hundreds of thousands.

    Attributes:
        state: What the core believes.
        now: The time.
        reality: By instance id.
        drives: Targets that a worker drives, by instance id.
        approved: Instances whose present attempt may serve the goal, as the log says.
        markups: How often each instance was put into traffic by a worker.
        untouched: Instances that no worker has marked down: what they serve is older than this deployment.
    """

    state: State
    now: datetime
    reality: Mapping[int, Reality]
    drives: Mapping[int, Drive]
    markups: Mapping[int, int]
    untouched: frozenset[int]
    approved: frozenset[int] = frozenset()


def begin(
    fleet: Sequence[Instance], config: DeploymentConfig, *, kind: Kind = Kind.ROLLOUT, previous: PackageRef | None = OLD
) -> tuple[World, facts.Planned]:
    """Plan a deployment of the goal on *fleet*; return the world in which it is planned, and the plan."""
    batches, has_canary = plan(fleet, group="shop", kind=kind, config=config)
    assert (batches, has_canary) == plan(fleet, group="shop", kind=kind, config=config), (
        "I24: planned twice differently"
    )
    members = {instance.id: instance for instance in fleet}
    assert all(members[one].can_take_part for batch in batches for one in batch), "I23: a held instance is planned"
    fact = facts.Planned(
        group="shop",
        kind=kind,
        goal=GOAL,
        previous=previous,
        config=config,
        initial=is_initial(fleet),
        batches=batches,
        has_canary=has_canary,
        starts=False,
        actor="ann",
    )
    reality = {
        one.id: Reality(
            in_traffic=not (one.hold or one.offline or one.failed or one.new),
            version=one.version,
            proven=not (one.failed or one.new),
        )
        for one in fleet
    }
    world = World(
        state=planned(1, fact, fleet=members),
        now=NOON,
        reality=reality,
        drives={},
        markups=dict.fromkeys(reality, 0),
        untouched=frozenset(reality),
    )
    return world, fact


# --- the core, and what its decisions do to the world ---


def decided(state: State, event: cmd.Command | cmd.Observation, now: datetime) -> Decision:
    """Let the core decide, and judge the decision."""
    decision = decide(state, event, now=now)
    judge(state, decision)
    if isinstance(event, cmd.SliceReported):
        assert decide(decision.state, event, now=now).facts == (), "I10: a report that came twice changed something"
    return decision


Decide = Callable[[State, "cmd.Command | cmd.Observation", datetime], Decision]
"""How a world asks the core: `decided`, or something that remembers what it answered."""


def tell(world: World, event: cmd.Command | cmd.Observation, *, ask: Decide = decided) -> World:
    """Let the core decide on *event*, and let the decision happen."""
    return absorb(world, ask(world.state, event, world.now))


def judge(before: State, decision: Decision) -> None:
    """Judge a decision by the log alone: what was issued, in which order, and under which brake."""
    state = before
    for fact in decision.facts:
        if isinstance(fact, facts.SliceOpened):
            assert not state.deployment.needs_approval, "it began before anybody approved it"
            _judge_start(state, fact)
        if isinstance(fact, facts.BakeApproved):
            attempts = tuple((one.instance_id, one.attempt) for one in state.in_batch(1))
            assert fact.attempts == attempts, "I2: an approval of other attempts"
        state = evolve(fact, state)
    assert state == decision.state, "I21: the state is not the fold of its facts"
    # A copy begins without the counts that the fold has carried on, and counts anew.
    assert tally_of(state) == tally_of(state.having()), "I21: the fold has miscounted"
    for instance_id in set(state.fleet) - touched(decision.facts):
        assert state.fleet[instance_id] == before.fleet[instance_id], "I21: changed, and not named by the log"
        assert state.targets.get(instance_id) == before.targets.get(instance_id), (
            "I21: changed, and not named by the log"
        )
    deployment = state.deployment
    if deployment.phase in GOING and not deployment.abort and failed_count(state):
        assert deployment.brake or failed_count(state) < limit_count(state), "I7: not braked"
    if deployment.phase.is_final:
        assert not deployment.slices, "a slice is open behind a deployment that is over"
        assert not state.in_flight, "I8: over, and somebody is still in flight"
    for number, opened in deployment.slices.items():
        if opened.course is Course.PRESTAGE:
            assert deployment.brake is None, "I8: fetching ahead while braked"
            assert deployment.abort is None, "I8: fetching ahead while being aborted"
        else:
            assert any(one.slice == number for one in state.in_flight), "an open slice that drives nobody"


def _judge_start(state: State, fact: facts.SliceOpened) -> None:
    deployment = state.deployment
    assert deployment.brake is None, "I8: issued while braked"
    assert deployment.abort is None, "I8: issued while being aborted"
    assert failed_count(state) < limit_count(state), "I7: issued with the limit reached"
    if fact.course is Course.PRESTAGE:
        return
    for instance_id, entry in fact.entries:
        target = state.targets[instance_id]
        assert state.fleet[instance_id].can_take_part, "I23: a held instance was admitted"
        assert deployment.batches[target.batch - 1].opened, "I8: issued during a pause"
        expected = Standing.VERIFIED if entry is Entry.BAKE else Standing.PENDING
        assert target.standing is expected, f"a target was admitted as {target.standing}"
        assert all(one.standing.is_final for one in state.targets.values() if one.batch < target.batch), (
            "I14: an earlier batch is not final"
        )
        if state.is_canary(target) and deployment.phase is Phase.CANARY:
            assert fact.course is Course.CANARY, "I2: a canary is driven into traffic before its bake"


def absorb(world: World, decision: Decision) -> World:
    """Let a decision happen: workers begin, approvals count, flags are followed; judge it by what is out of traffic."""
    drives = dict(world.drives)
    approved = world.approved
    taken = False
    for fact in decision.facts:
        match fact:
            case facts.BakeApproved(attempts=attempts):
                approved = approved.union(instance_id for instance_id, _ in attempts)
            case facts.TargetsReset(instance_ids=instance_ids):
                approved = approved.difference(instance_ids)
            case facts.SliceOpened(course=Course.CANARY | Course.FULL, entries=entries):
                for instance_id, entry in entries:
                    assert instance_id not in drives, "two workers drive one target"
                    drives[instance_id] = Drive(stage=chain.FIRST[entry], proved=entry is Entry.BAKE)
                    taken = taken or is_capacity_in_use(world, instance_id)
    after = world._replace(state=decision.state, drives=drives, approved=approved)
    assert set(drives) == {one.instance_id for one in decision.state.in_flight}, (
        "I21: somebody drives who is not in flight"
    )
    if taken:
        assert out_count(after) <= limit_count(after.state), "I1: more is out than allowed"
    return follow_flags(after)


def follow_flags(world: World) -> World:
    """Put every instance that no worker drives where its flags want it, and judge what comes into traffic that way."""
    changed = {}
    for instance_id, real in world.reality.items():
        if instance_id in world.drives:
            continue
        instance, target = world.state.fleet[instance_id], world.state.targets.get(instance_id)
        wanted = bool(wants_traffic(instance, target))
        if wanted and not real.in_traffic:
            _judge_markup(world, instance_id, real)
        if instance.failed and not (target and target.standing is Standing.VERIFIED):
            following = BROKEN[real.version == GOAL.version]
        elif wanted is not real.in_traffic:
            following = real._replace(in_traffic=wanted)
        else:
            continue
        changed[instance_id] = following
    return world._replace(reality={**world.reality, **changed}) if changed else world


def _judge_markup(world: World, instance_id: int, real: Reality) -> None:
    target = world.state.targets.get(instance_id)
    assert not world.state.fleet[instance_id].hold, "I23: a held instance was marked up"
    assert real.proven, "I3: marked up without a proof of what runs"
    assert real.version in (OLD.version, GOAL.version), "I3: marked up with nobody knows what"
    if target and world.state.is_canary(target) and real.version == GOAL.version:
        assert instance_id in world.approved | world.untouched, (
            "I2: a canary was marked up without an approval of this attempt"
        )


# --- the workers ---


def outcomes(world: World, instance_id: int) -> tuple[Outcome, ...]:
    """Return everything that can become of the next stage of one target."""
    drive = world.drives[instance_id]
    if not world.state.fleet[instance_id].can_take_part and not drive.unknown:
        return (Outcome.LEAVE,)
    holds_true = drive.stage is not Stage.PROVE or world.reality[instance_id].version == GOAL.version
    can_succeed = (Outcome.SUCCEED,) if holds_true else ()
    if drive.unknown:
        return (*can_succeed, Outcome.FAIL, Outcome.UNREACHABLE)
    return (*can_succeed, Outcome.FAIL, Outcome.LOSE)


def work(world: World, instance_id: int, outcome: Outcome) -> tuple[World, cmd.SliceReported | None]:
    """Perform the next stage of one target; return the world after it, and what its worker reports, if anything."""
    drive = world.drives[instance_id]
    if outcome is Outcome.LEAVE:
        return _settle(world, instance_id, drive, Standing.LEFT, Progress.SUCCESS)
    if not drive.unknown:
        _judge_issue(world, instance_id, drive)
    if drive.stage is Stage.MARKDOWN:
        world = world._replace(untouched=world.untouched - {instance_id})
    if outcome is Outcome.LOSE:
        return _with_drive(world, instance_id, drive._replace(unknown=True)), None
    stage = drive.stage
    real = _effect(world.reality[instance_id], stage, happened=outcome is not Outcome.FAIL)
    succeeded = outcome is Outcome.SUCCEED
    world = world._replace(reality={**world.reality, instance_id: real})
    if stage is Stage.MARKUP and succeeded:
        world = world._replace(markups={**world.markups, instance_id: world.markups[instance_id] + 1})
    target = world.state.targets[instance_id]
    if succeeded:
        course = world.state.deployment.slices[target.slice].course
        following = chain.after_success(entry=target.entry, course=course, stage=stage, failed_before=drive.failed)
    else:
        policy = world.state.deployment.config.on_target_failure
        following = chain.after_failure(entry=target.entry, stage=stage, policy=policy, failed_before=drive.failed)
    proofs = (Stage.VERIFY, Stage.PROVE, Stage.RESTORE)
    answered = stage not in (Stage.MARKDOWN, Stage.MARKUP) and outcome is not Outcome.UNREACHABLE
    drive = Drive(
        stage=following if isinstance(following, Stage) else stage,
        last=stage,
        failed=drive.failed or not (succeeded or stage is Stage.PROVE),
        proved=succeeded if stage in proofs else drive.proved and stage is not Stage.INSTALL,
        seen=real.version if answered else drive.seen,
    )
    if isinstance(following, Standing):
        return _settle(world, instance_id, drive, following, Progress.SUCCESS if succeeded else Progress.FAILURE)
    world = _with_drive(world, instance_id, drive)
    if following is not Stage.RESTORE:
        return world, None
    return world, cmd.SliceReported(slice=target.slice, failing=((instance_id, _failure(stage)),))


def _judge_issue(world: World, instance_id: int, drive: Drive) -> None:
    real = world.reality[instance_id]
    if drive.stage in (Stage.INSTALL, Stage.RESTORE):
        assert not real.in_traffic, "I4: work on an instance that is in traffic"
    if drive.stage is Stage.MARKUP:
        assert drive.proved, "I6: marked up without a proof in this attempt"
        _judge_markup(world, instance_id, real)


def _effect(real: Reality, stage: Stage, *, happened: bool) -> Reality:
    """Return what the world makes of a stage: done, or failed half way."""
    match stage, happened:
        case Stage.MARKDOWN, True:
            return real._replace(in_traffic=False)
        case Stage.INSTALL, _:
            return real._replace(version=GOAL.version if happened else None, proven=False)
        case Stage.RESTORE, _:
            return real._replace(version=OLD.version if happened else None, proven=happened)
        case ((Stage.VERIFY | Stage.PROVE), True):
            return real._replace(proven=True)
        case Stage.MARKUP, True:
            return real._replace(in_traffic=True)
    return real


def _settle(
    world: World, instance_id: int, drive: Drive, standing: Standing, progress: Progress
) -> tuple[World, cmd.SliceReported]:
    target = world.state.targets[instance_id]
    restored = standing is Standing.FAILED and (drive.last, progress) == (Stage.MARKUP, Progress.SUCCESS)
    if standing is Standing.SUCCESS:
        assert drive.proved, "I13: skipped without a fresh proof"
    if standing is Standing.VERIFIED:
        assert not world.reality[instance_id].in_traffic, "I2: a canary waits for its bake in traffic"
    if standing in (Standing.SUCCESS, Standing.VERIFIED):
        version = GOAL.version
    else:
        version = OLD.version if restored else drive.seen
    settlement = cmd.Settlement(
        instance_id=instance_id,
        standing=standing,
        stage=drive.last,
        progress=progress if drive.last else None,
        failure=_failure(drive.last) if standing is Standing.FAILED else None,
        restored=restored,
        version=version,
    )
    return world, cmd.SliceReported(slice=target.slice, settled=(settlement,))


def _with_drive(world: World, instance_id: int, drive: Drive) -> World:
    return world._replace(drives={**world.drives, instance_id: drive})


def _failure(stage: Stage) -> Failure:
    return Failure(code="stage.failed", message="it failed", stage=stage)


def hear(world: World, report: cmd.SliceReported, *, ask: Decide = decided) -> World:
    """Let the core hear a report; whoever settled is driven no more."""
    drives = {
        one: drive for one, drive in world.drives.items() if all(one != told.instance_id for told in report.settled)
    }
    return tell(world._replace(drives=drives), report, ask=ask)


# --- the truth that laws are about ---


def is_counted(state: State, instance_id: int) -> bool:
    """Capacity: neither held nor offline, and in service unless the whole group is new."""
    one = state.fleet[instance_id]
    return not one.hold and not one.offline and (state.deployment.initial or not one.new)


def is_capacity_in_use(world: World, instance_id: int) -> bool:
    """Whether taking this instance out leaves one less that serves."""
    in_use = world.reality[instance_id].in_traffic and not world.state.fleet[instance_id].busy_elsewhere
    return in_use and is_counted(world.state, instance_id)


def limit_count(state: State) -> int:
    """Return how many may be out: the share rounded down, half rounded up for a rollback, at least one."""
    eligible = sum(is_counted(state, instance_id) for instance_id in state.fleet)
    if state.deployment.kind is Kind.ROLLBACK:
        return max(1, -(-eligible // 2))
    return max(1, eligible * state.deployment.config.max_unavailable_percent // 100)


def failed_count(state: State) -> int:
    """Return how many targets have failed, or are failing, and still take part."""
    return sum(
        target.standing is Standing.FAILED or (target.standing is Standing.IN_FLIGHT and target.failure is not None)
        for target in state.targets.values()
        if not (state.fleet[target.instance_id].hold or state.fleet[target.instance_id].offline)
    )


def out_count(world: World) -> int:
    """Return how many counted instances are out of traffic, or with a worker, or on a server that is busy elsewhere."""
    initial = world.state.deployment.initial
    return sum(
        one in world.drives
        or world.state.fleet[one].busy_elsewhere
        or not (real.in_traffic or (initial and world.state.fleet[one].new and one not in world.drives))
        for one, real in world.reality.items()
        if is_counted(world.state, one)
    )


def check(world: World) -> None:
    """Judge a world that stands still."""
    assert budget_of(world.state).out_count >= out_count(world), "I1: something is out that the budget does not count"
    if world.state.deployment.phase is Phase.SUCCESS:
        _check_success(world)


def check_rest(state: State, now: datetime) -> None:
    """Judge a state to which nothing new happens (I24)."""
    for event in (cmd.TimeCame(), cmd.FleetChanged()):
        assert decide(state, event, now=now).facts == (), "I24: deciding again changed something"
    assert status_sentence(summarize(state))


def _check_success(world: World) -> None:
    standings = {target.standing for target in world.state.targets.values()}
    assert Standing.SUCCESS in standings, "I18: success, and nothing runs the goal"
    assert standings <= {Standing.SUCCESS, Standing.LEFT}, "I18: success with targets that are not"
    for target in world.state.targets.values():
        if target.standing is Standing.SUCCESS:
            real = world.reality[target.instance_id]
            assert (real.version, real.proven) == (GOAL.version, True), "I18: success, and not on the goal"
            instance = world.state.fleet[target.instance_id]
            assert real.in_traffic is not (instance.hold or instance.offline), "I18: success, and not up"
