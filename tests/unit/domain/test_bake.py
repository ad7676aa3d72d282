"""The canary, its bake and its approval (domain.md, phases)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollwave.domain import facts
from rollwave.domain.config import BakePolicy, FailurePolicy
from rollwave.domain.decide import WakeAt
from rollwave.domain.model import BrakeCause, Course, Entry, Phase, Stage, Standing
from tests.unit.domain.story import GOAL, NOON, Story, fleet_of, instance


def approvals(story):
    return [pair for fact in story.facts if isinstance(fact, facts.BakeApproved) for pair in fact.attempts]


def opened(story):
    return [(fact.course, dict(fact.entries)) for fact in story.happened(facts.SliceOpened)]


def test_a_canary_stops_before_markup_and_waits():
    """Batch 1 rolls as far as verify, out of traffic, until somebody bakes it."""
    story = Story(fleet_of(4)).start()
    assert opened(story) == [(Course.CANARY, {1: Entry.FULL})]

    story.verify()

    assert story.phase is Phase.VERIFY_SUCCESS
    assert story.standing(1) is Standing.VERIFIED
    assert story.in_flight == ()
    assert approvals(story) == []


def test_a_bake_approves_the_very_attempts_and_marks_them_up():
    """Every canary, with its attempt, is named in the log before it goes into traffic (I2)."""
    story = Story(fleet_of(8), canary_count=2).start().verify().bake()

    assert story.happened(facts.BakeApproved) == [facts.BakeApproved(actor="ann", attempts=((1, 1), (2, 1)))]
    assert opened(story) == [(Course.FULL, {1: Entry.BAKE, 2: Entry.BAKE})]
    assert story.phase is Phase.BAKING


def test_a_bake_takes_no_room():
    """A verified canary is out of traffic already: at its limit, the group can still bake."""
    story = Story(fleet_of(4)).start().verify().bake()

    assert story.in_flight == (1,)


def test_every_canary_has_to_be_marked_up_before_the_bake_can_end():
    """One of two is not a baked batch."""
    story = Story(fleet_of(8), canary_count=2).start().verify().bake().succeed(1)
    assert story.phase is Phase.BAKING

    assert story.succeed(2).phase is Phase.BAKE_SUCCESS


def test_a_bake_lasts_at_least_as_long_as_it_should():
    """The window opens when the last canary is in traffic, and the engine is to be woken at its end."""
    story = Story(fleet_of(8), canary_count=2, bake_min_s=600).start().verify().bake().succeed(1)
    assert story.state.deployment.bake_due_at is None

    story.wait(60).succeed(2)
    due_at = NOON + timedelta(seconds=660)
    assert story.decision.intents == (WakeAt(at=due_at),)

    assert story.wait(599).phase is Phase.BAKING
    assert story.wait(1).phase is Phase.BAKE_SUCCESS
    assert story.state.deployment.bake_due_at is None, "the window is over with its bake"


def test_by_hand_a_person_bakes_and_a_person_rolls_out():
    """The policy is manual: time alone leads nowhere."""
    story = Story(fleet_of(4)).start().verify()
    assert story.wait(86_400).phase is Phase.VERIFY_SUCCESS

    story.bake().succeed()
    assert story.wait(86_400).phase is Phase.BAKE_SUCCESS
    assert story.roll_out().phase is Phase.ROLLING_OUT


def test_by_policy_the_clock_bakes_and_rolls_out():
    """The policy approves in its own name; the window still counts."""
    story = Story(fleet_of(4), bake_policy=BakePolicy.AUTO, bake_min_s=600).start().verify()
    assert story.phase is Phase.BAKING
    assert story.happened(facts.BakeApproved) == [facts.BakeApproved(actor="policy", attempts=((1, 1),))]

    story.succeed()
    assert story.wait(599).phase is Phase.BAKING
    assert story.wait(1).phase is Phase.ROLLING_OUT
    assert story.in_flight == (2,)


def test_by_policy_a_group_of_one_is_released_without_anybody():
    """The approval of the rollout finds nothing left to roll, and that is the end, in the same decision (I24)."""
    story = Story(fleet_of(1), bake_policy=BakePolicy.AUTO).start().verify().succeed()

    assert story.phase is Phase.SUCCESS


def test_the_policy_does_nothing_under_a_brake():
    """Braked, nothing new starts, approvals included (I8)."""
    story = Story(fleet_of(4), bake_policy=BakePolicy.AUTO).start().apply_brake().verify()
    assert story.phase is Phase.VERIFY_SUCCESS

    story.resume().apply_brake().succeed()
    assert story.phase is Phase.BAKING
    assert story.resume().phase is Phase.ROLLING_OUT


def test_a_failed_markup_ends_the_bake():
    """The canary did not come back into traffic."""
    story = Story(fleet_of(8), canary_count=2).start().verify().bake().succeed(1).fail(2, stage=Stage.MARKUP)

    assert story.phase is Phase.BAKE_FAILURE


def test_a_monitor_can_condemn_a_bake():
    """The verdict is a fact; the canary stays where it is until somebody decides."""
    story = Story(fleet_of(4), bake_min_s=600).start().verify().bake().succeed().condemn()

    assert story.phase is Phase.BAKE_FAILURE
    assert story.happened(facts.BakeCondemned) == [facts.BakeCondemned(actor="monitor", reason="errors rise")]
    assert story.wait(600).phase is Phase.BAKE_FAILURE


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_verdict_outside_of_the_bake_changes_nothing(stage):
    """Late or early, it is not about this bake (I10)."""
    story = Story(fleet_of(4)).start().verify()
    if stage == "after":
        story.bake().succeed()
    before = story.state

    assert story.condemn().last == ()
    assert story.state == before


def test_a_condemned_bake_can_be_baked_again():
    """With nothing to run again, the retry approves the bake once more and watches a whole window."""
    story = Story(fleet_of(4), bake_min_s=600).start().verify().bake().succeed().condemn().wait(60).retry()

    assert story.phase is Phase.BAKING
    assert story.state.deployment.bake_due_at == NOON + timedelta(seconds=660)
    assert story.wait(600).phase is Phase.BAKE_SUCCESS


def test_a_bake_that_is_condemned_before_its_canary_had_room_can_be_baked_again():
    """The canary that waits has neither failed nor left: the retry is what it waits for."""
    fleet = (*fleet_of(4), instance(5, hold=True, failed=True))
    story = Story(fleet, on_target_failure=FailurePolicy.RESTORE).start().verify().bake().fail(1, stage=Stage.MARKUP)
    story.retry().fail(1, restored=True).unhold(5).retry()
    assert story.phase is Phase.BAKING
    assert story.standing(1) is Standing.PENDING, "the broken one takes the only place"

    story.condemn().retry().hold(5)

    assert story.phase is Phase.BAKING
    assert story.in_flight == (1,)


def test_a_canary_that_failed_its_bake_is_approved_again_by_whoever_retries_it():
    """The approval is of the attempt, so a new attempt needs a new one (I2)."""
    story = Story(fleet_of(4)).start().verify().bake().fail(1, stage=Stage.MARKUP).retry()

    assert story.phase is Phase.BAKING
    assert approvals(story) == [(1, 1), (1, 2)]
    assert opened(story) == [(Course.FULL, {1: Entry.PROVE_OUT})]
    assert story.succeed().phase is Phase.BAKE_SUCCESS


def test_a_canary_that_comes_back_during_the_bake_is_watched_for_a_whole_window():
    """A hold took it out; with it back, the bake begins again."""
    story = Story(fleet_of(8), canary_count=2, bake_min_s=600).start().verify().bake()
    story.hold(2).leave(2, stage=Stage.VERIFY).succeed(1)
    assert story.state.deployment.bake_due_at == NOON + timedelta(seconds=600)

    story.wait(300).apply_brake().unhold(2).retry().wait(60).succeed(2)

    assert story.state.deployment.bake_due_at == NOON + timedelta(seconds=960)
    assert story.wait(599).phase is Phase.BAKING
    assert story.wait(1).phase is Phase.BAKE_SUCCESS


def test_a_canary_that_comes_back_during_the_rollout_is_approved_by_whoever_retries_it():
    """It serves the new version only after an approval of this very attempt, in every phase (I2)."""
    story = Story(fleet_of(8), canary_count=2).start().verify().bake()
    story.hold(2).leave(2, stage=Stage.VERIFY).succeed(1).roll_out().apply_brake().unhold(2).retry()

    assert 2 in story.in_flight
    assert story.happened(facts.BakeApproved) == [facts.BakeApproved(actor="ann", attempts=((1, 1), (2, 2)))]


def test_a_retry_without_canaries_approves_nothing():
    """The log says who approved what; it does not say more."""
    story = Story(fleet_of(8), canary_count=0).start().fail().retry()
    assert approvals(story) == []

    story = Story(fleet_of(8)).to_rolling_out().fail().retry()
    assert approvals(story) == [(1, 1)]


@pytest.mark.parametrize("stage", [None, Stage.VERIFY])
def test_a_canary_that_leaves_before_its_markup_stays_out_of_traffic(stage):
    """Lifting the hold must not put it into traffic: a flag says that it has to be proven first."""
    story = Story(fleet_of(4)).start().verify().bake().hold(1).leave(1, stage=stage)

    assert story.state.fleet[1].failed
    assert story.brake.cause is BrakeCause.NO_CANARY
    assert story.state.deployment.bake_due_at is None, "there is nothing to watch"
    assert story.unhold(1).retry().in_flight == (1,)


def test_a_canary_that_is_held_while_it_waits_stays_out_of_traffic():
    """The same, with no worker on it."""
    story = Story(fleet_of(4)).start().verify().hold(1)

    assert story.standing(1) is Standing.LEFT
    assert story.state.fleet[1].failed
    assert story.state.fleet[1].version == GOAL.version


def test_a_canary_that_waits_when_the_deployment_is_given_up_stays_out_of_traffic():
    """Nobody approved it, so it must not serve; the next deployment proves or replaces it."""
    story = Story(fleet_of(4)).start().verify().abort()

    assert story.phase is Phase.ABORTED
    assert story.standing(1) is Standing.LEFT
    assert story.state.fleet[1].failed


def test_the_next_release_goes_on_from_an_aborted_canary():
    """The instance that the abort left out of traffic uses up the group's limit, and must not block the next one."""
    given_up = Story(fleet_of(4)).start().verify().abort()

    story = Story(tuple(given_up.state.fleet.values())).start()

    assert story.in_flight == (1,)
    assert story.verify().bake().succeed().roll_out().in_flight == (2,)


def test_a_restored_canary_fails_the_phase_and_serves_the_previous_version():
    """Restoring is no proof of the new version."""
    story = Story(fleet_of(4), on_target_failure=FailurePolicy.RESTORE).start().fail(restored=True)

    assert story.phase is Phase.VERIFY_FAILURE
    assert not story.state.fleet[1].failed
    assert opened(story.retry()) == [(Course.CANARY, {1: Entry.FULL})]
