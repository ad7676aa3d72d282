"""Laws of approvals: nothing begins before somebody else has said that it may."""

from __future__ import annotations

import pytest

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.actions import open_actions
from rollwave.domain.commands import Action
from rollwave.domain.errors import ActionNotAllowedError, InvalidValueError, OwnApprovalError
from rollwave.domain.model import Kind, Phase
from tests.unit.domain.story import Story, fleet_of

APPROVE = cmd.Approve(actor="bob", reason="ticket 7")


def waiting(*, starts: bool = True) -> Story:
    return Story(fleet_of(4), requires_approval=True, starts=starts)


def test_what_starts_by_itself_waits_for_its_approval():
    """Time alone changes nothing, and nobody can start it."""
    story = waiting().tell(cmd.TimeCame())

    assert story.phase is Phase.PENDING
    assert story.facts == []
    assert Action.START not in open_actions(story.state)
    with pytest.raises(ActionNotAllowedError, match="waits for an approval"):
        story.start()


def test_an_approval_lets_it_begin_at_once():
    """In the same decision; the log says who approved it and why."""
    story = waiting().tell(APPROVE)

    assert story.phase is Phase.CANARY
    assert story.state.deployment.approved_by == "bob"
    assert story.facts[0] == facts.CommandAccepted(action=Action.APPROVE, actor="bob", reason="ticket 7")


def test_what_was_to_wait_for_its_start_still_does():
    """An approval is no start."""
    story = waiting(starts=False).tell(APPROVE)

    assert story.phase is Phase.PENDING
    assert story.start().phase is Phase.CANARY


def test_who_asked_cannot_approve():
    """Two people, never one."""
    with pytest.raises(OwnApprovalError) as caught:
        waiting().tell(cmd.Approve(actor="ann", reason="trust me"))

    assert caught.value.facts == {"actor": "ann"}


@pytest.mark.parametrize("reason", ["", " "])
def test_an_approval_has_a_reason(reason):
    """It says why it may go ahead."""
    with pytest.raises(InvalidValueError) as caught:
        waiting().tell(cmd.Approve(actor="bob", reason=reason))

    assert caught.value.facts == {"field": "reason", "value": reason, "expected": "why it may go ahead"}


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        (lambda: Story(fleet_of(4)), "it needs no approval"),
        (lambda: Story(fleet_of(4), requires_approval=True, kind=Kind.ROLLBACK), "it needs no approval"),
        (lambda: waiting(starts=False).tell(APPROVE), "bob has approved it already"),
        (lambda: waiting().tell(APPROVE), "it is in phase canary, not pending"),
    ],
)
def test_an_approval_that_nobody_waits_for_is_refused(story, reason):
    """And says why."""
    with pytest.raises(ActionNotAllowedError) as caught:
        story().tell(cmd.Approve(actor="carl", reason="me too"))

    assert caught.value.facts["reason"] == reason


def test_a_rollback_needs_none():
    """It is what makes things good again."""
    story = Story(fleet_of(4), requires_approval=True, kind=Kind.ROLLBACK, starts=True).tell(cmd.TimeCame())

    assert story.phase is Phase.ROLLING_OUT


def test_what_nobody_approves_can_be_given_up():
    """A refusal is an abort."""
    assert waiting().tell(cmd.GiveUp(actor="bob", reason="not today")).phase is Phase.ABORTED


def test_a_brake_keeps_what_was_approved_from_beginning():
    """Until it is released."""
    story = waiting().apply_brake().tell(APPROVE)

    assert story.phase is Phase.PENDING
    assert story.resume().phase is Phase.CANARY
