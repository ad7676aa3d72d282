"""A new attempt, and what it may skip (domain.md, rule 6)."""

from __future__ import annotations

import pytest

from rollwave.domain import facts
from rollwave.domain.config import BatchMode, FailurePolicy
from rollwave.domain.errors import ActionNotAllowedError, InvalidValueError
from rollwave.domain.model import Entry, Phase, Stage, Standing
from tests.unit.domain.story import GOAL, Story, failure_at, fleet_of


def rolling(**config):
    """Eight at 25 %, without a canary: 1 and 2 roll first."""
    return Story(fleet_of(8), **{"canary_count": 0, **config}).start()


def entries(story):
    return {one: entry for fact in story.happened(facts.SliceOpened) for one, entry in fact.entries}


def test_a_retry_runs_the_failed_targets_again_and_only_them():
    """The good ones are proven good."""
    story = rolling().succeed(1).fail(2).succeed(3).succeed(4).apply_brake().succeed().retry()

    assert story.happened(facts.TargetsReset) == [facts.TargetsReset(instance_ids=(2,))]
    assert story.standing(1) is Standing.SUCCESS
    assert story.state.targets[2].attempt == 2
    assert story.in_flight == (2,)


def test_an_attempt_begins_with_a_clean_sheet():
    """Nothing of the failed attempt is left in the new one."""
    story = rolling().fail(1, stage=Stage.INSTALL).fail(2).retry(1)

    again = story.state.targets[1]
    assert (again.stage, again.progress, again.failure, again.restored) == (None, None, None, False)
    assert story.state.targets[2].failure == failure_at()


def test_what_failed_out_of_traffic_is_proven_and_perhaps_skipped():
    """It may run the goal by now: mark down, prove, and only where that fails install again (I13)."""
    assert entries(rolling().fail().retry()) == {1: Entry.PROVE_OUT, 2: Entry.PROVE_OUT}


def test_what_was_restored_goes_the_whole_way_again():
    """It serves the previous version, so there is nothing to skip."""
    story = rolling(on_target_failure=FailurePolicy.RESTORE).fail(restored=True).retry()

    assert entries(story) == {1: Entry.FULL, 2: Entry.FULL}


def test_what_left_joins_again_once_its_hold_is_lifted():
    """A retry takes it in; before that it stays out of the plan."""
    story = rolling().hold(8).apply_brake().succeed()
    assert "retry" not in story.open

    story.unhold(8).retry()

    assert story.standing(8) is Standing.PENDING
    assert story.in_flight == (3, 4)


def test_held_failures_are_not_retried():
    """A hold says that nobody may touch it."""
    story = rolling().fail().hold(1).retry()

    assert story.standing(1) is Standing.LEFT
    assert story.in_flight == (2,)


def test_a_retry_of_strangers_is_refused():
    """Only targets that failed can be named, and the error says which they are."""
    story = rolling().fail()

    with pytest.raises(InvalidValueError) as caught:
        story.retry(2, 3)
    assert caught.value.facts == {"field": "targets", "value": [3], "expected": "targets that failed: [1, 2]"}


def test_where_no_retry_is_open_the_phase_is_the_reason_whatever_was_named():
    """The first question is whether it is open at all."""
    story = rolling()

    with pytest.raises(ActionNotAllowedError, match="still going"):
        story.retry(3)


def test_a_failed_verify_phase_is_retried_as_a_canary():
    """Out of traffic until somebody bakes it, as in the first attempt."""
    story = Story(fleet_of(4)).start().fail().retry()

    assert story.phase is Phase.CANARY
    assert entries(story) == {1: Entry.PROVE_OUT}
    assert story.verify().phase is Phase.VERIFY_SUCCESS


def test_some_canaries_can_be_retried_while_others_stay_failed():
    """The phase ends as failed again, and the rest can be retried then."""
    story = Story(fleet_of(12), canary_count=3).start().verify(1).fail(2, 3).retry(3)
    assert story.in_flight == (3,)

    assert story.verify().phase is Phase.VERIFY_FAILURE
    assert story.retry().verify().phase is Phase.VERIFY_SUCCESS


def test_a_failed_rollout_is_retried_batch_by_batch():
    """The failed targets of an earlier batch are final before those of a later one start again (I14)."""
    story = rolling(max_unavailable_percent=50).fail(1).succeed().fail(5)
    while story.in_flight:
        story.succeed()
    assert story.phase is Phase.FAILURE

    assert story.retry().in_flight == (1,)
    assert story.succeed().in_flight == (5,)
    assert story.succeed().phase is Phase.SUCCESS


def test_a_retry_in_manual_mode_lets_its_batch_go():
    """Whoever retries wants it to run."""
    story = rolling(batch_mode=BatchMode.MANUAL).hold(3, 4).succeed().next()
    assert story.in_flight == (5,), "six instances allow one"

    story.apply_brake().succeed().unhold(3, 4).retry()

    assert story.in_flight == (3, 4)


def test_an_instance_that_was_proven_by_the_retry_is_whole_again():
    """Success lowers the flag that kept it out."""
    story = rolling().fail().retry().succeed()

    assert not story.state.fleet[1].failed
    assert story.state.fleet[1].version == GOAL.version
