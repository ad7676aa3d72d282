"""Taking an event in: what a command or an observation means for the state, before anything follows from it."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, TypeVar

from rollwave.domain import commands as cmd
from rollwave.domain import facts
from rollwave.domain.actions import check_percent, open_actions, retryable, why_not
from rollwave.domain.commands import Action
from rollwave.domain.draft import Draft
from rollwave.domain.errors import ActionNotAllowedError, InvalidValueError, OwnApprovalError
from rollwave.domain.model import Course, Phase
from rollwave.domain.phases import Trigger
from rollwave.domain.said import said

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


@singledispatch
def take_in(event: cmd.Command | cmd.Observation, draft: Draft) -> None:
    """
    Let *event* happen to *draft*; an observation without a rule of its own only makes the engine look again.

    Raises:
        ActionNotAllowedError: If a command is not open now.
        OwnApprovalError: If who asked for the deployment wants to approve it.
        InvalidValueError: If a command carries a value out of range.
    """


def _accept(draft: Draft, action: Action, event: cmd.Command) -> None:
    closed = why_not(draft.state, action)
    if closed:
        raise ActionNotAllowedError(
            action=action.value,
            phase=draft.state.deployment.phase.value,
            reason=closed,
            available=tuple(one.value for one in open_actions(draft.state)),
        )
    draft.emit(facts.CommandAccepted(action=action, actor=event.actor, reason=event.reason))


@take_in.register
def _(event: cmd.Approve, draft: Draft) -> None:
    _accept(draft, Action.APPROVE, event)
    if event.actor == draft.state.deployment.actor:
        raise OwnApprovalError(actor=event.actor)
    if not event.reason.strip():
        raise InvalidValueError(field="reason", value=event.reason, expected=said("why it may go ahead"))


@take_in.register
def _(event: cmd.Start, draft: Draft) -> None:
    _accept(draft, Action.START, event)
    draft.begin()


@take_in.register
def _(event: cmd.Bake, draft: Draft) -> None:
    _accept(draft, Action.BAKE, event)
    draft.approve_bake(actor=event.actor)
    draft.move(Trigger.BAKE)


@take_in.register
def _(event: cmd.RollOut, draft: Draft) -> None:
    _accept(draft, Action.ROLLOUT, event)
    draft.move(Trigger.ROLL_OUT)
    # Whoever starts the rolling out lets its first batch go, in manual mode too.
    draft.release_next_batch()


@take_in.register
def _(event: cmd.NextBatch, draft: Draft) -> None:
    _accept(draft, Action.NEXT, event)
    draft.release_next_batch()


@take_in.register
def _(event: cmd.ApplyBrake, draft: Draft) -> None:
    _accept(draft, Action.BRAKE, event)
    draft.brake(facts.Braked(cause=event.cause, reason=event.reason, actor=event.actor))


@take_in.register
def _(event: cmd.Resume, draft: Draft) -> None:
    _accept(draft, Action.RESUME, event)
    draft.emit(facts.BrakeReleased())


@take_in.register
def _(event: cmd.Retry, draft: Draft) -> None:
    _accept(draft, Action.RETRY, event)
    again = tuple(target.instance_id for target in retryable(draft.state))
    if event.instance_ids is not None:
        strangers = event.instance_ids.difference(again)
        if strangers:
            raise InvalidValueError(
                field="targets",
                value=sorted(strangers),
                expected=said("targets that failed: %(names)s", names=sorted(again)),
            )
        again = tuple(instance_id for instance_id in again if instance_id in event.instance_ids)
    if again:
        draft.emit(facts.TargetsReset(instance_ids=again))
    if draft.state.deployment.brake:
        draft.emit(facts.BrakeReleased())
    draft.move(Trigger.RETRY)
    phase = draft.state.deployment.phase
    is_canary_again = any(draft.state.is_canary(draft.state.targets[instance_id]) for instance_id in again)
    if phase is Phase.BAKING or (phase is Phase.ROLLING_OUT and is_canary_again):
        # From the bake on nobody waits for an approval: whoever retries approves the new attempts (I2).
        draft.approve_bake(actor=event.actor)
    if phase is Phase.ROLLING_OUT:
        draft.release_next_batch()


@take_in.register
def _(event: cmd.RaiseLimit, draft: Draft) -> None:
    _accept(draft, Action.RAISE_LIMIT, event)
    check_percent(draft.state, event.max_unavailable_percent)
    draft.emit(facts.LimitRaised(max_unavailable_percent=event.max_unavailable_percent))


@take_in.register
def _(event: cmd.GiveUp, draft: Draft) -> None:
    _accept(draft, Action.ROLLBACK if event.rollback_to else Action.ABORT, event)
    draft.emit(facts.AbortRequested(reason=event.reason, rollback_to=event.rollback_to))
    draft.close_prestage()


@take_in.register
def _(event: cmd.SliceReported, draft: Draft) -> None:
    opened = draft.state.deployment.slices.get(event.slice)
    if opened is None:
        return
    # A target that another slice drives by now, or none, has moved on: what is told of it is stale (I10).
    ours = {one for one in opened.instance_ids if draft.state.targets[one].slice == event.slice}
    failing = _once(
        (instance_id, failure)
        for instance_id, failure in event.failing
        if instance_id in ours and draft.state.targets[instance_id].failure is None
    )
    if failing:
        draft.emit(facts.TargetsFailing(failures=tuple(failing.items())))
    settled = _once((one.instance_id, one) for one in event.settled if one.instance_id in ours)
    if settled:
        draft.emit(facts.TargetsSettled(settlements=tuple(settled.values())))
    is_over = event.done if opened.course is Course.PRESTAGE else settled.keys() == ours
    if is_over:
        draft.emit(facts.SliceClosed(number=event.slice))


def _once(told: Iterable[tuple[int, T]]) -> dict[int, T]:
    """Return what was told first of each target: a report may name one twice."""
    first: dict[int, T] = {}
    for instance_id, value in told:
        first.setdefault(instance_id, value)
    return first


@take_in.register
def _(event: cmd.BakeJudged, draft: Draft) -> None:
    if draft.state.deployment.phase is Phase.BAKING:
        draft.emit(facts.BakeCondemned(actor=event.actor, reason=event.reason))
        draft.move(Trigger.BAKE_FAILED)
