"""Which actions are open, and why the others are not: one list, read by the UI, the CLI, the API and the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain import brake
from rollwave.domain.commands import Action
from rollwave.domain.config import RANGES
from rollwave.domain.errors import InvalidValueError
from rollwave.domain.model import BrakeCause, Kind, Phase, Standing
from rollwave.domain.phases import TRANSITIONS, Trigger
from rollwave.domain.said import said
from rollwave.domain.tally import tally_of

if TYPE_CHECKING:
    from rollwave.domain.model import Batch, State, Target
    from rollwave.domain.said import Said

FAILED_PHASES = (Phase.VERIFY_FAILURE, Phase.BAKE_FAILURE, Phase.FAILURE)
"""Phases that wait for a person because something went wrong."""

HIGHEST_PERCENT: Final = RANGES["max_unavailable_percent"][1]
"""No group ever has a larger share out of traffic."""


def retryable(state: State) -> tuple[Target, ...]:
    """Return the targets that a retry would run again: failed ones, and those that left and may take part again."""
    return tuple(
        target
        for target in state.targets.values()
        if target.standing in (Standing.FAILED, Standing.LEFT) and state.fleet[target.instance_id].can_take_part
    )


def next_batch(state: State) -> Batch | None:
    """Return the first batch with a target that is not final; None where there is none."""
    numbers = {batch for batch, standing in tally_of(state).targets if not standing.is_final}
    return state.deployment.batches[min(numbers) - 1] if numbers else None


def why_not(state: State, action: Action) -> Said | None:
    """Return the reason why *action* is closed now, as the end of a sentence; None if it is open."""
    deployment = state.deployment
    if deployment.phase.is_final:
        return said("the deployment is over (%(phase)s)", phase=deployment.phase)
    if deployment.abort:
        return said("the deployment is being aborted")
    return _CHECKS[action](state)


def open_actions(state: State) -> tuple[Action, ...]:
    """Return the actions that are open now, in the order in which a person would look for them."""
    return tuple(action for action in Action if why_not(state, action) is None)


def _braked(state: State) -> Said | None:
    current = state.deployment.brake
    return said("it is braked (%(brake)s)", brake=current) if current else None


def _only_in(state: State, wanted: Phase) -> Said | None:
    phase = state.deployment.phase
    return None if phase is wanted else said("it is in phase %(phase)s, not %(wanted)s", phase=phase, wanted=wanted)


def _why_not_approve(state: State) -> Said | None:
    closed = _only_in(state, Phase.PENDING)
    if closed or state.deployment.needs_approval:
        return closed
    by = state.deployment.approved_by
    return said("%(name)s has approved it already", name=by) if by else said("it needs no approval")


def _why_not_start(state: State) -> Said | None:
    waits = said("it waits for an approval") if state.deployment.needs_approval else None
    return _only_in(state, Phase.PENDING) or waits or _braked(state)


def _why_not_bake(state: State) -> Said | None:
    return _only_in(state, Phase.VERIFY_SUCCESS) or _braked(state)


def _why_not_rollout(state: State) -> Said | None:
    return _only_in(state, Phase.BAKE_SUCCESS) or _braked(state)


def _why_not_next(state: State) -> Said | None:
    closed = _only_in(state, Phase.ROLLING_OUT) or _braked(state)
    if closed:
        return closed
    batch = next_batch(state)
    if not state.deployment.goes_by_hand:
        if state.deployment.kind is Kind.ROLLBACK:
            return said("batches start by themselves (a rollback never waits)")
        return said("batches start by themselves (batch_mode is auto)")
    if batch is None or batch.opened or batch.released:
        return said("no batch waits to be let go")
    return None


def _why_not_brake(state: State) -> Said | None:
    return said("it is braked already") if state.deployment.brake else None


def _why_not_resume(state: State) -> Said | None:
    current = state.deployment.brake
    if current is None:
        return said("it is not braked")
    if state.deployment.phase in FAILED_PHASES:
        return said("nothing is left to go on with: retry, abort or roll back")
    needed = brake.judge(state)
    if needed is None:
        return None
    way_out = {
        BrakeCause.NO_CANARY: said("lift the hold and retry, or abort"),
        BrakeCause.FAILURES: said("retry, hold the failed instances, raise the limit, abort or roll back"),
    }[needed.cause]
    return said("it would brake again at once (%(brake)s): %(way_out)s", brake=needed, way_out=way_out)


def _why_not_retry(state: State) -> Said | None:
    deployment = state.deployment
    if (deployment.phase, Trigger.RETRY) not in TRANSITIONS:
        return said("there is nothing to retry in phase %(phase)s", phase=deployment.phase)
    if deployment.phase not in FAILED_PHASES and deployment.brake is None:
        return said("it is still going; brake it first, or wait until the phase ends")
    if not retryable(state) and not (deployment.phase in FAILED_PHASES and _has_good(state)):
        return said("no target has failed that may take part; lift a hold, or abort")
    return None


def _has_good(state: State) -> bool:
    """Whether a phase that failed can be judged again without those that failed: a hold made them leave the plan."""
    judged = state.targets.values() if state.deployment.phase is Phase.FAILURE else state.in_batch(1)
    return any(target.standing not in (Standing.FAILED, Standing.LEFT) for target in judged)


def _why_not_raise_limit(state: State) -> Said | None:
    if state.deployment.kind is Kind.ROLLBACK:
        return said("a rollback always takes half of the group")
    if state.deployment.config.max_unavailable_percent == HIGHEST_PERCENT:
        return said("the limit is at its highest, %(percent)s percent", percent=HIGHEST_PERCENT)
    return None


def check_percent(state: State, percent: int) -> None:
    """
    Return if the limit may be raised to *percent*.

    Raises:
        InvalidValueError: If that is no raise, or too much.
    """
    current = state.deployment.config.max_unavailable_percent
    if not current < percent <= HIGHEST_PERCENT:
        raise InvalidValueError(
            field="max_unavailable_percent",
            value=percent,
            expected=said(
                "more than the current %(current)s and at most %(percent)s", current=current, percent=HIGHEST_PERCENT
            ),
        )


def _why_not_abort(_state: State) -> Said | None:
    return None


def _why_not_rollback(state: State) -> Said | None:
    return None if state.deployment.previous else said("no earlier package of this group is known to be good")


_CHECKS = {
    Action.APPROVE: _why_not_approve,
    Action.START: _why_not_start,
    Action.BAKE: _why_not_bake,
    Action.ROLLOUT: _why_not_rollout,
    Action.NEXT: _why_not_next,
    Action.BRAKE: _why_not_brake,
    Action.RESUME: _why_not_resume,
    Action.RETRY: _why_not_retry,
    Action.RAISE_LIMIT: _why_not_raise_limit,
    Action.ABORT: _why_not_abort,
    Action.ROLLBACK: _why_not_rollback,
}
