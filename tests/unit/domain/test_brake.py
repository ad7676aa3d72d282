"""The brake and every way out of it (domain.md, rules 2 and 4)."""

from __future__ import annotations

import pytest

from rollwave.domain import facts
from rollwave.domain.actions import why_not
from rollwave.domain.commands import Action
from rollwave.domain.config import FailurePolicy
from rollwave.domain.decide import RollBack
from rollwave.domain.errors import ActionNotAllowedError, InvalidValueError
from rollwave.domain.model import Abort, BrakeCause, Kind, Phase, Standing
from tests.unit.domain.story import GOAL, OLD, Story, fleet_of


def braked_story(**config: object) -> Story:
    """Eight at 25 %, no canary: two failures are the limit."""
    story = Story(fleet_of(8), **{"canary_count": 0, **config}).start().fail(1, 2)
    assert story.brake is not None
    return story


def test_one_failure_does_not_stop_a_batch():
    """Best effort first: with one of two failed, the next batch still rolls."""
    story = Story(fleet_of(8), canary_count=0).start().fail(1)

    assert story.brake is None
    assert story.succeed(2).in_flight == (3,)


def test_the_failure_that_reaches_the_limit_brakes_in_the_same_decision():
    """That decision brakes and issues nothing (I7)."""
    story = Story(fleet_of(8), canary_count=0).start().fail(1).fail(2)

    assert story.happened(facts.Braked) == [
        facts.Braked(
            cause=BrakeCause.FAILURES, reason="2 failed, 2 allowed", actor="engine", failed_count=2, limit_count=2
        )
    ]
    assert story.happened(facts.SliceOpened) == []
    assert story.in_flight == ()
    assert story.phase is Phase.ROLLING_OUT


def test_what_is_in_flight_finishes_under_the_brake():
    """Nothing new starts, and what was started counts (I8)."""
    story = Story(fleet_of(8), canary_count=0).start().apply_brake(reason="lunch").succeed()

    assert [story.standing(one) for one in (1, 2)] == [Standing.SUCCESS] * 2
    assert story.in_flight == ()
    assert story.resume().in_flight == (3, 4)


def test_a_target_that_is_being_restored_counts_as_failed_at_once():
    """The brake does not wait for the previous version to be back."""
    story = Story(fleet_of(8), canary_count=0, on_target_failure=FailurePolicy.RESTORE).start()

    story.failing(1)
    assert story.brake is None
    story.failing(2)
    assert story.brake.cause is BrakeCause.FAILURES
    assert story.in_flight == (1, 2)


def test_a_restored_target_still_counts_as_failed():
    """It is in traffic again, on the previous version: the release has failed there all the same."""
    story = Story(fleet_of(8), canary_count=0, on_target_failure=FailurePolicy.RESTORE).start().fail(restored=True)

    assert story.brake.reason == "2 failed, 2 allowed"
    assert not story.state.fleet[1].failed
    assert story.state.fleet[1].version == OLD.version


def test_the_log_says_who_braked_and_why():
    """A person by name; the engine has its own."""
    story = Story(fleet_of(8)).start().apply_brake(reason="lunch")

    assert story.happened(facts.Braked) == [facts.Braked(cause=BrakeCause.OPERATOR, reason="lunch", actor="ann")]


def test_a_dependency_can_brake():
    """The engine brakes for an outside system in the same way, with its own cause."""
    story = Story(fleet_of(8)).start().apply_brake(BrakeCause.DEPENDENCY, "the balancer is down")

    assert story.brake.cause is BrakeCause.DEPENDENCY
    assert "resume" in story.open


def test_a_braked_deployment_does_not_start():
    """Not even the fetching ahead (I8)."""
    story = Story(fleet_of(8), prestage=True).apply_brake()

    with pytest.raises(ActionNotAllowedError, match="braked"):
        story.start()
    assert story.resume().start().in_flight == (1,)


def test_resuming_into_the_same_brake_is_refused_with_the_ways_out():
    """Going on would brake again at once, so it is not offered."""
    story = braked_story()

    assert "resume" not in story.open
    assert why_not(story.state, Action.RESUME) == (
        "it would brake again at once (2 failed, 2 allowed): "
        "retry, hold the failed instances, raise the limit, abort or roll back"
    )


def test_an_operator_brake_cannot_be_resumed_past_the_failure_limit():
    """The brake is judged again, whoever set it."""
    story = Story(fleet_of(8), canary_count=0).start().apply_brake().fail()

    assert story.brake.cause is BrakeCause.OPERATOR
    assert "resume" not in story.open


def test_way_out_retry():
    """The failed ones run again, and the brake is off."""
    story = braked_story().retry()

    assert story.brake is None
    assert story.in_flight == (1, 2)
    assert story.state.targets[1].attempt == 2


def test_way_out_retry_of_some():
    """One is enough to be below the limit."""
    story = braked_story().retry(2)

    assert story.brake is None
    assert story.in_flight == (2,)
    assert story.standing(1) is Standing.FAILED


def test_a_retry_that_leaves_the_limit_reached_brakes_again_and_starts_nothing():
    """The brake is judged before every admission (I7)."""
    story = Story(fleet_of(12), canary_count=0).start().fail(1, 2, 3).hold(9, 10, 11, 12)
    assert story.brake.reason == "3 failed, 3 allowed"

    story.retry(1)

    assert story.brake.reason == "2 failed, 2 allowed"
    assert story.in_flight == ()


def test_way_out_raise_the_limit():
    """A larger share, then on."""
    story = braked_story().raise_limit(50)
    assert story.brake is not None
    assert "resume" in story.open

    story.resume()

    assert story.brake is None
    assert story.in_flight == (3, 4)


@pytest.mark.parametrize("percent", [25, 10, 51, 0])
def test_the_limit_can_only_be_raised_and_only_to_half(percent):
    """Anything else is refused, with the range."""
    story = braked_story()

    with pytest.raises(InvalidValueError, match="more than the current 25 and at most 50") as caught:
        story.raise_limit(percent)
    assert (caught.value.facts["field"], caught.value.facts["value"]) == ("max_unavailable_percent", percent)


def test_raising_the_limit_is_closed_where_it_cannot_be_raised():
    """What is listed as open is open: at the top there is nothing to raise, and a rollback has no percentage."""
    top = Story(fleet_of(8), max_unavailable_percent=50)
    rollback = Story(fleet_of(8), kind=Kind.ROLLBACK)

    for story in (top, rollback):
        assert "raise_limit" not in story.open
        with pytest.raises(ActionNotAllowedError):
            story.raise_limit(50)


def test_way_out_hold():
    """The bad instances leave the plan and block nobody."""
    story = braked_story().hold(1)
    assert story.standing(1) is Standing.LEFT
    assert "resume" not in story.open, "one failed of seven is still the limit of one"

    story.hold(2).resume()

    assert story.brake is None
    assert story.in_flight == (3,), "six instances allow one"


def test_way_out_abort():
    """With nothing in flight it is over at once."""
    story = braked_story().abort()

    assert story.phase is Phase.ABORTED
    assert story.state.deployment.abort == Abort(reason="enough")
    assert story.decision.intents == ()


def test_way_out_rollback():
    """The rollback follows once nothing is in flight."""
    story = Story(fleet_of(8), canary_count=0).start().fail(1).roll_back()
    assert story.phase is Phase.ROLLING_OUT
    assert story.decision.intents == ()

    story.succeed(2)

    assert story.phase is Phase.ABORTED
    assert story.decision.intents == (RollBack(goal=OLD),)


def test_there_is_no_way_back_without_an_earlier_package():
    """The first release of a group can only be aborted."""
    story = Story(fleet_of(8, new=True), previous=None).start()

    assert "rollback" not in story.open
    with pytest.raises(ActionNotAllowedError, match="no earlier package"):
        story.roll_back()


@pytest.mark.parametrize("lost", [1, 2])
def test_a_hold_gets_a_failed_canary_phase_going_again(lost):
    """The held canary leaves, the good one stands for both."""
    story = Story(fleet_of(8), canary_count=2).start().fail(lost).verify()
    assert story.phase is Phase.VERIFY_FAILURE

    story.hold(lost).retry()

    assert story.phase is Phase.VERIFY_SUCCESS
    assert story.brake is None


def test_a_hold_gets_a_failed_bake_going_again():
    """The same after markup."""
    story = Story(fleet_of(8), canary_count=2).start().verify().bake().succeed(1).fail(2)
    assert story.phase is Phase.BAKE_FAILURE

    assert story.hold(2).retry().phase is Phase.BAKE_SUCCESS


def test_a_hold_gets_a_failed_rollout_to_its_end():
    """Every target is final and none has failed: the group must not need an abort to be free."""
    story = Story(fleet_of(8), canary_count=0).start().fail(1)
    while story.in_flight:
        story.succeed()
    assert story.phase is Phase.FAILURE

    story.hold(1).retry()

    assert story.phase is Phase.SUCCESS
    assert all(story.state.fleet[one].version == GOAL.version for one in range(2, 9))


def test_a_failed_rollout_whose_first_batch_left_as_a_whole_comes_to_its_end_too():
    """The later batches stand for it."""
    story = Story(fleet_of(12), canary_count=0).start().hold(2, 3).leave(2, 3).fail(1)
    while story.in_flight:
        story.succeed()
    assert story.phase is Phase.FAILURE

    assert story.hold(1).retry().phase is Phase.SUCCESS


def test_a_canary_phase_that_every_canary_left_waits_for_the_hold_to_be_lifted():
    """There is nothing that could stand for the new version."""
    story = Story(fleet_of(4)).start().hold(1).leave(1)
    assert story.phase is Phase.VERIFY_FAILURE
    assert "retry" not in story.open

    assert story.unhold(1).retry().in_flight == (1,)


@pytest.mark.parametrize("braked", [False, True], ids=["by the engine", "by an operator before"])
def test_without_any_canary_there_is_nothing_to_bake(braked):
    """The engine brakes, or the brake stays; the way out is said, and it works."""
    story = Story(fleet_of(4)).start().verify()
    if braked:
        story.apply_brake()

    story.hold(1)

    assert story.brake.cause is (BrakeCause.OPERATOR if braked else BrakeCause.NO_CANARY)
    assert story.phase is Phase.VERIFY_SUCCESS
    assert why_not(story.state, Action.RESUME) == (
        "it would brake again at once (every canary left the plan): lift the hold and retry, or abort"
    )
    assert story.unhold(1).retry().phase is Phase.CANARY
    assert story.in_flight == (1,)


def test_a_brake_needs_failures_of_targets_that_still_take_part():
    """Held failures are nobody's failures any more."""
    story = Story(fleet_of(8), canary_count=0).start().fail(1).hold(1).fail(2)

    assert story.brake.reason == "1 failed, 1 allowed"
    assert story.hold(2).open >= {"resume"}
