"""When a batch begins (domain.md, rule 5)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollwave.domain import facts
from rollwave.domain.actions import why_not
from rollwave.domain.commands import Action
from rollwave.domain.config import BakePolicy, BatchMode
from rollwave.domain.decide import WakeAt
from rollwave.domain.errors import ActionNotAllowedError
from rollwave.domain.model import Kind, Phase
from rollwave.domain.progress import next_due
from tests.unit.domain.story import NOON, Story, fleet_of


def after(seconds):
    return NOON + timedelta(seconds=seconds)


def test_the_second_batch_waits_long_and_the_later_ones_short():
    """`batch_pause_s` before batch 2, `tail_pause_s` from batch 3 on; the canary is batch 1 and waits for nobody."""
    story = Story(fleet_of(4), batch_pause_s=100, tail_pause_s=10).start()
    assert story.in_flight == (1,)

    story.verify().bake().succeed().roll_out()
    assert story.happened(facts.BatchScheduled) == [facts.BatchScheduled(number=2, due_at=after(100))]
    assert story.decision.intents == (WakeAt(at=after(100)),)
    assert story.wait(99).in_flight == ()
    assert story.wait(1).in_flight == (2,)

    story.succeed()
    assert story.decision.intents == (WakeAt(at=after(110)),)
    assert story.wait(9).in_flight == ()
    assert story.wait(1).in_flight == (3,)
    assert story.succeed().wait(10).succeed().phase is Phase.SUCCESS


def test_without_a_canary_the_first_batch_waits_for_nobody():
    """There is nothing to wait after."""
    story = Story(fleet_of(3), canary_count=0, batch_pause_s=100).start()
    assert story.in_flight == (1,)
    assert story.succeed().in_flight == ()
    assert story.wait(100).succeed().in_flight == (3,), "no tail pause was asked for"


def test_a_rollback_never_waits():
    """As fast as safety allows, whatever the settings say."""
    story = Story(fleet_of(4), kind=Kind.ROLLBACK, batch_pause_s=100, tail_pause_s=100).start()

    assert story.succeed().in_flight == (3, 4)


def test_a_failed_batch_never_blocks_a_later_one():
    """Best effort, up to the brake."""
    story = Story(fleet_of(8), canary_count=0).start().fail(1).succeed(2)

    assert story.in_flight == (3,)


def test_a_batch_begins_only_when_the_one_before_is_final():
    """Batches are serial (I14): one target in flight holds the next batch back."""
    story = Story(fleet_of(8), canary_count=0).start().succeed(1)
    assert story.in_flight == (2,)

    assert story.succeed(2).in_flight == (3, 4)


def test_a_batch_whose_every_target_left_is_skipped():
    """It has nothing to wait for, not even its pause."""
    story = Story(fleet_of(8), canary_count=0, tail_pause_s=100).start().hold(3, 4).succeed()

    assert story.happened(facts.BatchScheduled) == [facts.BatchScheduled(number=3, due_at=after(100))]


def test_by_hand_each_batch_waits_for_a_person():
    """Whoever starts or rolls out lets the first batch go; `next` lets each further one go."""
    story = Story(fleet_of(4), batch_mode=BatchMode.MANUAL, batch_pause_s=100).to_rolling_out()
    assert story.in_flight == (2,), "the person who rolls out is there; there is nothing to wait for"
    assert "next" not in story.open

    story.succeed()
    assert story.in_flight == ()
    assert story.wait(86_400).in_flight == ()
    assert "next" in story.open
    assert story.next().in_flight == (3,)
    assert story.succeed().next().succeed().phase is Phase.SUCCESS


def test_by_hand_without_a_canary_the_start_lets_the_first_batch_go():
    """The same person, the same moment."""
    story = Story(fleet_of(4), canary_count=0, batch_mode=BatchMode.MANUAL).start()

    assert story.in_flight == (1,)
    assert story.succeed().in_flight == ()


def test_a_rollback_waits_for_nobody():
    """As fast as safety allows, whatever releases are set to (rule 5); the log names nobody who let a batch go."""
    story = Story(fleet_of(4), kind=Kind.ROLLBACK, batch_mode=BatchMode.MANUAL, batch_pause_s=100).start().succeed()

    assert story.in_flight == (3, 4)
    assert why_not(story.state, Action.NEXT) == "batches start by themselves (a rollback never waits)"
    assert story.succeed().phase is Phase.SUCCESS
    assert story.happened(facts.BatchReleased) == []


def test_in_automatic_mode_nobody_lets_a_batch_go():
    """The log names no release of a batch that nobody had to release."""
    story = Story(fleet_of(4)).to_rolling_out().fail().retry()

    assert not any(isinstance(fact, facts.BatchReleased) for fact in story.facts)


def test_the_policy_lets_the_first_batch_go_in_manual_mode():
    """It rolls out in the place of a person."""
    config = {"batch_mode": BatchMode.MANUAL, "bake_policy": BakePolicy.AUTO}
    story = Story(fleet_of(4), **config).start().verify().succeed()
    assert story.in_flight == (2,)

    assert story.succeed().in_flight == ()


def test_next_says_why_it_is_closed():
    """In another phase, in automatic mode, or while a batch runs."""
    automatic = Story(fleet_of(4)).to_rolling_out()
    manual = Story(fleet_of(4), batch_mode=BatchMode.MANUAL)

    assert why_not(manual.state, Action.NEXT) == "it is in phase pending, not rolling_out"
    assert why_not(automatic.state, Action.NEXT) == "batches start by themselves (batch_mode is auto)"
    assert why_not(manual.to_rolling_out().state, Action.NEXT) == "no batch waits to be let go"
    with pytest.raises(ActionNotAllowedError, match="braked"):
        manual.apply_brake().next()


def test_a_batch_that_was_let_go_under_no_brake_waits_for_a_brake_that_came_since():
    """Paused and braked are two things: both have to be over (I8)."""
    story = Story(fleet_of(8), canary_count=0, batch_pause_s=100).start().succeed().apply_brake()

    assert story.wait(100).last == (), "the batch does not even open"
    assert story.resume().in_flight == (3, 4)


def test_a_deployment_starts_by_itself_where_it_was_planned_so():
    """Otherwise it waits for somebody; a brake holds it back in both cases."""
    assert Story(fleet_of(4), starts=True).wait(0).in_flight == (1,)
    assert Story(fleet_of(4)).wait(86_400).phase is Phase.PENDING

    braked = Story(fleet_of(4), starts=True).apply_brake()
    assert braked.phase is Phase.PENDING
    assert braked.resume().in_flight == (1,)


def test_when_time_alone_moves_it_on():
    """The end of a pause and of a bake; never while braked or being aborted, and never once the batch runs."""
    story = Story(fleet_of(4), batch_pause_s=100, bake_min_s=50)
    assert next_due(story.state) is None
    assert next_due(story.start().verify().bake().state) is None
    assert next_due(story.succeed().state) == after(50)
    assert next_due(story.apply_brake().state) is None
    assert next_due(story.resume().wait(50).state) is None
    assert next_due(story.roll_out().state) == after(150)
    assert next_due(story.wait(100).state) is None
    assert next_due(story.abort().state) is None
