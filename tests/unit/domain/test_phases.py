"""Every phase with every trigger and with every action: the tables of domain.md, walked pair by pair."""

from __future__ import annotations

import re

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.actions import why_not
from rollwave.domain.commands import Action
from rollwave.domain.decide import decide
from rollwave.domain.draft import Draft
from rollwave.domain.errors import ActionNotAllowedError
from rollwave.domain.model import BrakeCause, Kind, Phase, Standing
from rollwave.domain.phases import Trigger
from tests.unit.domain.story import NOON, OLD, Story, fleet_of

TABLE = {
    Phase.PENDING: {Trigger.START: Phase.CANARY, Trigger.START_WITHOUT_CANARY: Phase.ROLLING_OUT},
    Phase.CANARY: {
        Trigger.CANARY_VERIFIED: Phase.VERIFY_SUCCESS,
        Trigger.CANARY_FAILED: Phase.VERIFY_FAILURE,
        Trigger.RETRY: Phase.CANARY,
    },
    Phase.VERIFY_SUCCESS: {
        Trigger.BAKE: Phase.BAKING,
        Trigger.RETRY: Phase.CANARY,
        Trigger.CANARY_LEFT: Phase.CANARY,
    },
    Phase.VERIFY_FAILURE: {Trigger.RETRY: Phase.CANARY},
    Phase.BAKING: {
        Trigger.BAKED: Phase.BAKE_SUCCESS,
        Trigger.BAKE_FAILED: Phase.BAKE_FAILURE,
        Trigger.RETRY: Phase.BAKING,
    },
    Phase.BAKE_SUCCESS: {Trigger.ROLL_OUT: Phase.ROLLING_OUT},
    Phase.BAKE_FAILURE: {Trigger.RETRY: Phase.BAKING},
    Phase.ROLLING_OUT: {
        Trigger.ALL_SUCCEEDED: Phase.SUCCESS,
        Trigger.SOME_FAILED: Phase.FAILURE,
        Trigger.RETRY: Phase.ROLLING_OUT,
    },
    Phase.FAILURE: {Trigger.RETRY: Phase.ROLLING_OUT},
    Phase.SUCCESS: {},
    Phase.ABORTED: {},
}
"""The phases of domain.md and ADR 9, written down a second time; abort leads out of every phase that is not final."""

ALWAYS = {"brake", "raise_limit", "abort", "rollback"}

OPEN = {
    Phase.PENDING: ALWAYS | {"start"},
    Phase.CANARY: ALWAYS,
    Phase.VERIFY_SUCCESS: ALWAYS | {"bake"},
    Phase.VERIFY_FAILURE: ALWAYS | {"retry"},
    Phase.BAKING: ALWAYS,
    Phase.BAKE_SUCCESS: ALWAYS | {"rollout"},
    Phase.BAKE_FAILURE: ALWAYS | {"retry"},
    Phase.ROLLING_OUT: ALWAYS,
    Phase.FAILURE: ALWAYS | {"retry"},
    Phase.SUCCESS: set(),
    Phase.ABORTED: set(),
}
"""What is open in a phase that is not braked."""

RESUMABLE = (
    Phase.PENDING,
    Phase.CANARY,
    Phase.VERIFY_SUCCESS,
    Phase.BAKING,
    Phase.BAKE_SUCCESS,
    Phase.ROLLING_OUT,
)

COMMANDS = {
    Action.APPROVE: cmd.Approve(actor="bob", reason="looked at it"),
    Action.START: cmd.Start(actor="ann"),
    Action.BAKE: cmd.Bake(actor="ann"),
    Action.ROLLOUT: cmd.RollOut(actor="ann"),
    Action.NEXT: cmd.NextBatch(actor="ann"),
    Action.BRAKE: cmd.ApplyBrake(actor="ann", cause=BrakeCause.OPERATOR),
    Action.RESUME: cmd.Resume(actor="ann"),
    Action.RETRY: cmd.Retry(actor="ann"),
    Action.RAISE_LIMIT: cmd.RaiseLimit(actor="ann", max_unavailable_percent=50),
    Action.ABORT: cmd.GiveUp(actor="ann"),
    Action.ROLLBACK: cmd.GiveUp(actor="ann", rollback_to=OLD),
}


def story_in(phase: Phase) -> Story:
    """Eight instances, two of them canaries, limit two: one failure ends a phase without a brake."""
    story = Story(fleet_of(8), canary_count=2)
    paths = {
        Phase.PENDING: lambda: story,
        Phase.CANARY: story.start,
        Phase.VERIFY_SUCCESS: lambda: story.start().verify(),
        Phase.VERIFY_FAILURE: lambda: story.start().verify(1).fail(2),
        Phase.BAKING: lambda: story.start().verify().bake(),
        Phase.BAKE_SUCCESS: lambda: story.start().verify().bake().succeed(),
        Phase.BAKE_FAILURE: lambda: story.start().verify().bake().succeed(1).fail(2),
        Phase.ROLLING_OUT: story.to_rolling_out,
        Phase.SUCCESS: lambda: story.to_rolling_out().succeed().succeed().succeed(),
        Phase.FAILURE: lambda: story.to_rolling_out().succeed().succeed().fail(7).succeed(),
        Phase.ABORTED: story.abort,
    }
    paths[phase]()
    assert story.phase is phase
    assert story.brake is None
    return story


def story_braked_in(phase: Phase) -> Story:
    story = story_in(phase)
    return story.apply_brake() if not phase.is_final else story


@pytest.mark.parametrize("phase", Phase)
def test_a_trigger_leads_where_the_table_says_and_nowhere_else(phase):
    """Every pair; one that is not in the table is a bug and is loud."""
    expected = TABLE[phase] | ({} if phase.is_final else {Trigger.ABORTED: Phase.ABORTED})
    state = story_in(phase).state

    for trigger in Trigger:
        draft = Draft(state, now=NOON)
        if trigger in expected:
            draft.move(trigger)
            is_moved = expected[trigger] is not phase
            assert draft.state.deployment.phase is expected[trigger]
            assert draft.facts == ([facts.PhaseChanged(phase=expected[trigger])] if is_moved else [])
        else:
            with pytest.raises(KeyError):
                draft.move(trigger)
            assert draft.facts == []


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("braked", [False, True], ids=["going", "braked"])
def test_an_action_is_open_where_the_table_says_and_refused_elsewhere(phase, braked):
    """Every pair, braked and not: what is listed as open is accepted, what is not is refused and changes nothing."""
    story = story_braked_in(phase) if braked else story_in(phase)
    expected = OPEN[phase]
    if braked and not phase.is_final:
        expected = expected - {"brake", "start", "bake", "rollout"} | ({"resume"} if phase in RESUMABLE else set())

    assert story.open == expected
    for action in Action:
        if action.value in expected:
            assert why_not(story.state, action) is None
            accepted = decide(story.state, COMMANDS[action], now=story.now)
            assert accepted.facts[0] == facts.CommandAccepted(action=action, actor="ann")
        else:
            with pytest.raises(ActionNotAllowedError) as caught:
                decide(story.state, COMMANDS[action], now=story.now)
            assert caught.value.facts["action"] == action.value
            assert caught.value.facts["phase"] == phase.value
            assert set(caught.value.facts["available"]) == expected
            assert caught.value.facts["reason"] == why_not(story.state, action)


def test_nothing_is_open_while_an_abort_waits_for_what_is_in_flight():
    """Giving up is final from the moment it is asked for."""
    story = story_in(Phase.ROLLING_OUT).abort()

    assert story.phase is Phase.ROLLING_OUT
    assert story.open == set()
    assert {why_not(story.state, action) for action in Action} == {"the deployment is being aborted"}


def test_an_abort_starts_nothing_more_and_ends_with_what_is_in_flight():
    """The next targets have room, and stay where they are (I8)."""
    story = Story(fleet_of(8), canary_count=0).start().abort().succeed(1)
    assert story.in_flight == (2,)

    assert story.succeed(2).phase is Phase.ABORTED
    assert [story.standing(one) for one in range(3, 9)] == [Standing.PENDING] * 6


def test_only_success_and_aborted_are_final():
    """Nothing follows them; everything else can still be given up."""
    assert {phase for phase in Phase if phase.is_final} == {Phase.SUCCESS, Phase.ABORTED}


def test_a_rollout_without_canary_starts_rolling_out():
    """There is nothing to bake."""
    story = Story(fleet_of(4), canary_count=0).start()

    assert story.phase is Phase.ROLLING_OUT
    assert story.in_flight == (1,)


def test_a_group_of_one_is_released_by_its_canary():
    """No batch is left to roll out: the approval ends the deployment."""
    story = Story(fleet_of(1)).start().verify().bake().succeed()
    assert story.phase is Phase.BAKE_SUCCESS

    assert story.roll_out().phase is Phase.SUCCESS


def test_a_deployment_whose_every_target_left_has_not_succeeded():
    """Nothing runs the goal, so the goal must not become the group's stable package (I18)."""
    story = Story(fleet_of(4), canary_count=0, max_unavailable_percent=50).start()

    story.hold(1, 2, 3, 4).leave(1, 2)

    assert story.phase is Phase.FAILURE
    assert story.open == ALWAYS - {"raise_limit"}
    assert "lift a hold" in why_not(story.state, Action.RETRY)


def test_a_phase_is_left_with_the_slices_that_belong_to_it():
    """No slice stays open behind a deployment that is over: nobody would ever close it."""
    story = Story(fleet_of(2), prestage=True, max_unavailable_percent=50).start().verify().bake().succeed().roll_out()
    assert story.state.deployment.slices

    assert story.succeed().phase is Phase.SUCCESS
    assert story.state.deployment.slices == {}


def test_a_reason_reads_as_the_end_of_a_sentence():
    """ "cannot bake now: ..." is how it is told: it goes on in lower case, and the sentence ends elsewhere."""
    stories = [
        *(tell(phase) for tell in (story_in, story_braked_in) for phase in Phase),
        Story(fleet_of(8), kind=Kind.ROLLBACK, previous=None),
        story_in(Phase.ROLLING_OUT).fail(),
        story_in(Phase.FAILURE).hold(7),
    ]

    reasons = {why_not(story.state, action) for story in stories for action in Action} - {None}

    assert [reason for reason in reasons if not re.fullmatch(r"[a-z][^\n]*[^.\s]", reason)] == []


def test_a_brake_is_told_by_its_reason_or_else_by_its_cause():
    """Whoever finds an action closed reads why it was braked."""
    assert why_not(story_in(Phase.PENDING).apply_brake(reason="lunch").state, Action.START) == "it is braked (lunch)"
    assert why_not(story_in(Phase.PENDING).apply_brake().state, Action.START) == "it is braked (operator)"
