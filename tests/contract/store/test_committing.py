"""Laws of commits: all or nothing, in order, and only on what was loaded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.commands import Action
from rollwave.domain.config import BakePolicy, FailurePolicy
from rollwave.domain.errors import (
    CommandRepeatedError,
    FencedError,
    IdempotencyConflictError,
    RecalledError,
    StateConflictError,
)
from rollwave.domain.model import BrakeCause, Phase, Progress, Stage, Standing
from rollwave.ports.executor import Line
from rollwave.ports.store import CommandKey
from tests.contract.store.crew import NOON, Crew, broken, failed, released
from tests.contract.store.worlds import Seen

KEY = CommandKey(key="start-1", digest="a" * 64)


@pytest.fixture
def goal(world):
    """Package 2.0, and a group of four instances."""
    world.add_group("shop")
    for number in range(4):
        world.add_instance("shop", f"s{number}")
    return world.add_package("2.0")


def settled(state):
    """A state without what only the records know of targets in flight."""
    targets = {
        one.instance_id: replace(one, stage=None, progress=None, failure=None)
        if one.standing is Standing.IN_FLIGHT
        else one
        for one in state.targets.values()
    }
    return state.having(targets=targets)


def test_a_commit_returns_what_a_load_returns(world, goal):
    """At every step of a release, from start to success; and a load with it as the cache reads nothing anew."""
    crew = Crew.create(world, "shop", goal, canary_count=1)

    def check(after):
        loaded = crew.load()
        assert settled(after.state) == settled(loaded.state)
        assert (after.version, after.group_versions) == (loaded.version, loaded.group_versions)
        assert world.store.load(crew.id, cached=after) is after

    check(crew.act(cmd.Start(actor="ann")))
    check(crew.finish(crew.claim(1)))
    check(crew.act(cmd.Bake(actor="ann")))
    check(crew.finish(crew.claim(2)))
    check(crew.act(cmd.RollOut(actor="ann")))
    while claims := crew.claim_open():
        check(crew.finish(claims[0]))
    assert crew.phase is Phase.SUCCESS


def test_a_decision_on_what_has_moved_is_void(world, goal):
    """Of two decisions on the same state the second is refused, and leaves no trace."""
    crew = Crew.create(world, "shop", goal)
    loaded = crew.load()
    first = crew.decide(cmd.Start(actor="ann"), loaded)
    second = crew.decide(cmd.GiveUp(actor="bob"), loaded)
    world.store.commit([first], at=NOON)
    log = world.log(crew.id)

    with pytest.raises(StateConflictError):
        world.store.commit([second], at=NOON, command=KEY)

    assert world.log(crew.id) == log
    crew.act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR), command=KEY)  # so the key was not used up


def test_a_decision_without_facts_changes_nothing_but_the_key(world, goal):
    """It raises no version, so that whoever has decided something meanwhile is not refused."""
    crew = Crew.begin(world, "shop", goal)
    loaded, nothing = crew.decide(cmd.TimeCame())
    brake = crew.decide(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR), loaded)

    (after,) = world.store.commit([(loaded, nothing)], at=NOON, command=KEY)

    assert after.version == loaded.version
    world.store.commit([brake], at=NOON)
    with pytest.raises(CommandRepeatedError):
        world.store.commit([(loaded, nothing)], at=NOON, command=KEY)


def test_a_command_is_in_the_log_exactly_once(world, goal):
    """Its repetition is told what it stands for; another request with its key is refused (I22)."""
    crew = Crew.create(world, "shop", goal)
    crew.act(cmd.Start(actor="ann"), command=KEY)
    brake = cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR)

    with pytest.raises(CommandRepeatedError) as repeated:
        crew.act(brake, command=KEY)
    with pytest.raises(IdempotencyConflictError):
        crew.act(brake, command=replace(KEY, digest="b" * 64))

    assert repeated.value.deployment_id == crew.id
    accepted = [fact for fact in world.log(crew.id) if isinstance(fact, facts.CommandAccepted)]
    assert [fact.action for fact in accepted] == [Action.START]


@pytest.mark.parametrize(
    ("change", "error"), [({"epoch": 99}, FencedError), ({"recalls": 1}, RecalledError), ({"epoch": 0}, FencedError)]
)
def test_a_refused_record_takes_everything_with_it(world, goal, change, error):
    """Decision, other records and command key: nothing of the commit is there."""
    crew = Crew.begin(world, "shop", goal, max_unavailable_percent=50)
    (claim,) = crew.claim_open()
    one, other = (job.target.instance_id for job in crew.jobs(claim))
    log = world.log(crew.id)
    decision = crew.decide(cmd.SliceReported(slice=1, settled=(failed(one),)))
    good = crew.record(claim, crew.saw(other, Stage.MARKDOWN))
    bad = crew.record(claim, crew.saw(one, Stage.MARKDOWN), **change)

    with pytest.raises(error) as refused:
        world.store.commit([decision], [good, bad], at=NOON, command=KEY)

    assert refused.value.key == claim.key
    assert world.log(crew.id) == log
    assert crew.target(other).stage is None
    crew.act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR), command=KEY)


def test_records_are_durable_and_in_order(world, goal):
    """A target stands where its last transition left it, and the log tells all of them."""
    crew = Crew.begin(world, "shop", goal)
    (claim,) = crew.claim_open()
    one, other = (job.target.instance_id for job in crew.jobs(claim))

    crew.write(
        claim,
        crew.saw(one, Stage.MARKDOWN),
        crew.saw(other, Stage.MARKDOWN),
        crew.saw(one, Stage.MARKDOWN, Progress.SUCCESS),
        crew.saw(one, Stage.DOWNLOAD),
    )

    assert (crew.target(one).stage, crew.target(one).progress) == (Stage.DOWNLOAD, Progress.RUNNING)
    assert (crew.target(other).stage, crew.target(other).progress) == (Stage.MARKDOWN, Progress.RUNNING)
    told = [
        (entry.stage, entry.progress)
        for entry in world.log(crew.id)
        if isinstance(entry, Seen) and entry.instance_id == one
    ]
    assert told == [
        (Stage.MARKDOWN, Progress.RUNNING),
        (Stage.MARKDOWN, Progress.SUCCESS),
        (Stage.DOWNLOAD, Progress.RUNNING),
    ]


def test_the_first_failure_of_an_attempt_is_kept(world, goal):
    """Later ones, of the restoring, do not hide it; within one write or over several."""
    crew = Crew.begin(world, "shop", goal)
    (claim,) = crew.claim_open()
    one, other = (job.target.instance_id for job in crew.jobs(claim))
    verify = crew.saw(one, Stage.VERIFY, Progress.FAILURE, broken(Stage.VERIFY))
    restore = crew.saw(one, Stage.RESTORE, Progress.FAILURE, broken(Stage.RESTORE))

    crew.write(claim, verify)
    crew.write(claim, restore)
    crew.write(claim, *(replace(seen, instance_id=other) for seen in (verify, restore)))

    for instance_id in (one, other):
        assert crew.target(instance_id).failure == broken(Stage.VERIFY)
        assert crew.target(instance_id).stage is Stage.RESTORE


def test_the_log_keeps_what_a_stage_did(world, goal):
    """Beside the stage that did it and nowhere else: as it was told, in order, whatever letters are in it."""
    crew = Crew.begin(world, "shop", goal)
    (claim,) = crew.claim_open()
    one = crew.jobs(claim)[0].target.instance_id
    lines = (Line(after_ms=0, text="stop: 'sh' \\ \"a\"\t好 %s"), Line(after_ms=10**9, text="current: 1.0 -> 2.0"))
    done = replace(crew.saw(one, Stage.INSTALL, Progress.SUCCESS), lines=lines)
    failing = replace(crew.saw(one, Stage.VERIFY, Progress.FAILURE, broken(Stage.VERIFY)), lines=lines[1:])

    crew.write(claim, crew.saw(one, Stage.INSTALL), done, crew.saw(one, Stage.VERIFY), failing)

    seen = [entry for entry in world.log(crew.id) if isinstance(entry, Seen)]
    assert [entry.lines for entry in seen] == [(), lines, (), lines[1:]]
    assert seen[-1].failure == crew.target(one).failure == broken(Stage.VERIFY)


def test_a_failed_proof_and_an_unknown_are_no_failures_of_the_target(world, goal):
    """The one leads the long way round; the other is neither success nor failure until it is read back (I12)."""
    crew = Crew.begin(world, "shop", goal)
    (claim,) = crew.claim_open()
    one, other = (job.target.instance_id for job in crew.jobs(claim))

    crew.write(
        claim,
        crew.saw(one, Stage.PROVE, Progress.FAILURE, broken(Stage.PROVE)),
        crew.saw(other, Stage.INSTALL, Progress.UNKNOWN, broken(Stage.INSTALL)),
    )

    assert crew.target(one).failure is None
    assert crew.target(other).failure is None
    assert (crew.target(other).stage, crew.target(other).progress) == (Stage.INSTALL, Progress.UNKNOWN)


def test_a_decision_knows_less_of_a_target_in_flight_than_its_record(world, goal):
    """That a target is failing is written beside where it stands by now, even when the decision was made on less."""
    crew = Crew.begin(world, "shop", goal, on_target_failure=FailurePolicy.RESTORE)
    (claim,) = crew.claim_open()
    one, other = (job.target.instance_id for job in crew.jobs(claim))
    stale = crew.load()
    failure = broken(Stage.VERIFY)
    crew.write(
        claim,
        crew.saw(one, Stage.VERIFY, Progress.FAILURE, failure),
        crew.saw(one, Stage.RESTORE),
        crew.saw(other, Stage.INSTALL),
    )

    failing = crew.decide(cmd.SliceReported(slice=1, failing=((one, failure),)), stale)
    world.store.commit([failing], [crew.record(claim)], at=NOON)

    assert (crew.target(one).stage, crew.target(one).progress) == (Stage.RESTORE, Progress.RUNNING)
    assert crew.target(one).failure == failure
    assert crew.target(other).stage is Stage.INSTALL


def test_a_canary_goes_on_to_its_bake_where_it_stands(world, goal):
    """Verified, approved and admitted again in one decision or two: the row is that of the new attempt at its place."""
    crew = Crew.begin(world, "shop", goal, canary_count=1, bake_policy=BakePolicy.AUTO)
    claim = crew.claim(1)
    canary = crew.jobs(claim)[0].target.instance_id

    crew.finish(claim)

    assert crew.phase is Phase.BAKING
    target = crew.target(canary)
    assert (target.standing, target.slice) == (Standing.IN_FLIGHT, 2)
    assert (target.stage, target.progress) == (Stage.VERIFY, Progress.SUCCESS)


def test_a_retry_is_a_clean_attempt(world, goal):
    """Nothing of the failed attempt is left on its target."""
    crew = Crew.begin(world, "shop", goal, canary_count=1)
    claim = crew.claim(1)
    canary = crew.jobs(claim)[0].target.instance_id
    crew.finish(claim, failing=[canary])
    assert crew.phase is Phase.VERIFY_FAILURE
    assert crew.state.fleet[canary].failed

    crew.act(cmd.Retry(actor="ann"))

    target = crew.target(canary)
    assert (target.attempt, target.standing, target.slice) == (2, Standing.IN_FLIGHT, 2)
    assert (target.stage, target.progress, target.failure) == (None, None, None)


def test_a_success_is_written_on_the_instance(world, goal):
    """It runs the goal, is no longer new, and no longer failed."""
    one = world.add_instance("shop", "late", new=True, failed=True, version=None)
    crew = Crew.begin(world, "shop", goal).run_all()

    assert crew.phase is Phase.SUCCESS
    instance = crew.state.fleet[one]
    assert (instance.version, instance.new, instance.failed) == ("2.0", False, False)


def test_what_time_will_move_is_due_then(world, goal):
    """A pause between batches is due when it ends; a brake takes that back, for nothing may start then."""
    crew = Crew.begin(world, "shop", goal, batch_pause_s=60)
    crew.finish(crew.claim(1))
    end = NOON + timedelta(seconds=60)

    assert world.store.next_due() == end
    assert list(world.store.due(end - timedelta(microseconds=1))) == []
    assert list(world.store.due(end)) == [crew.id]
    crew.act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR))
    assert list(world.store.due(end)) == []
    crew.act(cmd.Resume(actor="ann"))
    assert list(world.store.due(end)) == [crew.id]

    crew.now = end
    crew.act(cmd.TimeCame())
    assert world.store.next_due() is None
    assert len(crew.state.in_flight) == 2


def test_a_bake_is_due_when_its_window_ends(world, goal):
    """Not before the canary is in traffic."""
    crew = Crew.begin(world, "shop", goal, canary_count=1, bake_min_s=600)
    crew.finish(crew.claim(1))
    crew.act(cmd.Bake(actor="ann"))
    assert world.store.next_due() is None

    crew.finish(crew.claim(2))

    assert world.store.next_due() == NOON + timedelta(seconds=600)


def test_the_cache_is_good_until_something_moves(world, goal):
    """A record moves nothing that was decided; a decision, a hold and a server going offline do."""
    crew = Crew.begin(world, "shop", goal)
    (claim,) = crew.claim_open()
    loaded = crew.load()
    one = crew.jobs(claim)[0].target.instance_id
    crew.write(claim, crew.saw(one, Stage.MARKDOWN))
    assert world.store.load(crew.id, cached=loaded) is loaded

    def moved():
        nonlocal loaded
        stale, loaded = loaded, world.store.load(crew.id, cached=loaded)
        return stale is not loaded

    assert not moved()
    world.store.set_hold(one, hold=True, actor="ann", reason="", at=NOON)
    assert moved()
    assert loaded.state.fleet[one].hold
    world.set_offline("s3", offline=True)
    assert moved()
    assert [instance.server for instance in loaded.state.fleet.values() if instance.offline] == ["s3"]
    crew.act(cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR))
    assert moved()
    assert not moved()


def test_a_hold_voids_what_was_decided_without_it(world, goal):
    """No decision admits an instance that was held after it was loaded (I23)."""
    crew = Crew.create(world, "shop", goal)
    decision = crew.decide(cmd.Start(actor="ann"))
    world.store.set_hold(next(iter(crew.state.fleet)), hold=True, actor="ann", reason="", at=NOON)

    with pytest.raises(StateConflictError):
        world.store.commit([decision], at=NOON)

    assert crew.phase is Phase.PENDING


def test_an_abort_remembers_the_rollback_that_is_to_follow(world, goal):
    """Until the group has a newer deployment, whatever it is; an abort alone asks for none, and others' are theirs."""
    world.add_group("books")
    world.add_instance("books", "b1")
    old = world.add_package("1.0")
    released(world, "shop", old)
    crew = Crew.create(world, "shop", goal)
    crew.act(cmd.GiveUp(actor="ann", rollback_to=old))
    Crew.create(world, "books", goal).act(cmd.GiveUp(actor="ann"))
    assert list(world.store.unfollowed_rollbacks()) == [(crew.id, "shop", old)]

    Crew.create(world, "books", goal)
    assert list(world.store.unfollowed_rollbacks()) == [(crew.id, "shop", old)]

    newer = Crew.create(world, "shop", goal)

    assert list(world.store.unfollowed_rollbacks()) == []
    newer.act(cmd.GiveUp(actor="ann"))
    assert list(world.store.unfollowed_rollbacks()) == []
