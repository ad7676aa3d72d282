"""A decision as a value: its state, its facts, its intents; and the fold (I21, I24)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.config import FailurePolicy
from rollwave.domain.decide import Decision, RollBack, RunSlice, WakeAt, decide
from rollwave.domain.errors import RollwaveError
from rollwave.domain.evolve import evolve, fold, planned, touched
from rollwave.domain.model import Batch, BrakeCause, Phase
from tests.unit.domain.story import NOON, OLD, Story, fleet_of


def told_story():
    """A release with a bit of everything."""
    story = Story(fleet_of(8), prestage=True, batch_pause_s=10, bake_min_s=5).start().verify().bake().succeed()
    story.wait(5).roll_out().wait(10).fail(2).apply_brake().raise_limit(50).resume()
    story.apply_brake().fail().retry().roll_back().succeed()
    assert story.phase is Phase.ABORTED
    return story


def test_the_state_is_the_fold_of_its_facts():
    """From the first fact on, with nothing but the facts (I21)."""
    story = told_story()
    fleet = {one.id: one for one in fleet_of(8)}

    assert fold(planned(1, story.planned, fleet=fleet), story.facts) == story.state


def test_a_deployment_begins_as_it_was_planned():
    """Its identity, and its batches one by one; the first is the canary's where it has one."""
    story = Story(fleet_of(10))
    deployment = story.state.deployment

    assert (deployment.id, deployment.group, deployment.goal) == (1, "shop", story.planned.goal)
    assert deployment.batches == tuple(Batch(number=number, canary=number == 1) for number in range(1, 7))
    assert tuple(tuple(one.instance_id for one in story.state.in_batch(number)) for number in range(1, 7)) == (
        story.batches
    )


def test_the_log_says_who_asked_for_what_and_why():
    """Word by word: the audit trail is read from it."""
    story = Story(fleet_of(2)).tell(cmd.Start(actor="ann", reason="ticket 7"))

    assert story.last[0] == facts.CommandAccepted(action=cmd.Action.START, actor="ann", reason="ticket 7")


@pytest.mark.parametrize("event", [cmd.TimeCame(), cmd.FleetChanged()])
def test_deciding_again_with_nothing_new_changes_nothing(event):
    """At every point of a release (I24)."""
    story = Story(fleet_of(8), batch_pause_s=10)
    for step in (story.start, story.verify, story.bake, story.succeed, story.roll_out):
        step()
        again = decide(story.state, event, now=story.now)
        assert again == Decision(state=story.state, facts=())


def test_the_log_names_every_instance_that_it_touches():
    """A store writes those and no others."""
    story = Story(fleet_of(8), canary_count=2, on_target_failure=FailurePolicy.RESTORE)
    story.start()
    assert touched(story.last) == {1, 2}
    assert touched(story.verify(1).last) == {1}
    assert touched(story.failing(2).last) == {2}
    assert touched(story.fail(2, restored=True).last) == {2}
    assert touched(story.retry().last) == {2}
    assert touched(story.hold(3, 4).last) == {3, 4}
    assert touched(story.apply_brake().last) == set()
    assert touched((story.planned, *story.facts)) == {1, 2, 3, 4}


def test_planned_and_accepted_and_condemned_are_records_that_change_nothing():
    """What they bring about is told by facts of their own."""
    story = Story(fleet_of(2))
    for fact in (
        story.planned,
        facts.CommandAccepted(action=cmd.Action.START, actor="ann"),
        facts.BakeCondemned(actor="monitor", reason="errors rise"),
    ):
        assert evolve(fact, story.state) is story.state


def test_every_fact_is_stored_under_its_own_name():
    """The log names a kind of fact by its class."""
    assert len(facts.FACTS) == len(facts.Fact.__args__)
    assert all(kind.__name__ == name for name, kind in facts.FACTS.items())


def test_intents_follow_from_facts():
    """Slices are run, pauses and bakes are woken from; nothing else leaves a decision."""
    story = Story(fleet_of(4), batch_pause_s=100, bake_min_s=5).start()
    assert story.decision.intents == (RunSlice(number=1),)

    assert story.verify().decision.intents == ()
    assert story.bake().decision.intents == (RunSlice(number=2),)
    assert story.succeed().decision.intents == (WakeAt(at=NOON + timedelta(seconds=5)),)
    assert story.wait(5).decision.intents == ()
    assert story.roll_out().decision.intents == (WakeAt(at=NOON + timedelta(seconds=105)),)


def test_an_abort_with_a_rollback_is_followed_by_it_and_one_without_is_not():
    """The intent comes with the end of the abort, not with the request."""
    assert Story(fleet_of(4)).abort().decision.intents == ()
    assert Story(fleet_of(4)).roll_back().decision.intents == (RollBack(goal=OLD),)


def test_what_arrives_together_is_taken_in_before_anything_follows_from_it():
    """A brake that comes with the approval of the rollout lets nothing start (I7)."""
    story = Story(fleet_of(8)).start().verify().bake().succeed()
    approved, braked = cmd.RollOut(actor="ann"), cmd.ApplyBrake(actor="bob", cause=BrakeCause.OPERATOR)

    alone, together = decide(story.state, approved, now=NOON), decide(story.state, approved, braked, now=NOON)

    assert any(isinstance(one, facts.SliceOpened) for one in alone.facts)
    assert not any(isinstance(one, facts.SliceOpened) for one in together.facts)
    assert together.state.deployment.phase is Phase.ROLLING_OUT


def test_a_refused_command_leaves_no_trace():
    """The state that was loaded is the state that is."""
    story = Story(fleet_of(4)).start()
    before = story.state

    for event in (cmd.Start(actor="ann"), cmd.RaiseLimit(actor="ann", max_unavailable_percent=99)):
        with pytest.raises(RollwaveError):
            decide(before, event, now=NOON)
    assert story.state == before


def test_a_decision_that_would_never_end_is_a_bug_and_is_loud(monkeypatch):
    """It would hang the engine, and every other group with it."""
    monkeypatch.setattr("rollwave.domain.decide.go_on", lambda _draft: True)

    with pytest.raises(RuntimeError, match=r"^a decision does not come to its end$"):
        decide(Story(fleet_of(4)).state, now=NOON)
