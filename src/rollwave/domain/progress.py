"""Going on: the first thing that is due in a state, and only that. `decide` asks until nothing is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rollwave.domain import admission, brake, facts
from rollwave.domain.actions import FAILED_PHASES, next_batch
from rollwave.domain.config import BakePolicy
from rollwave.domain.model import Kind, Phase, Standing
from rollwave.domain.phases import Trigger
from rollwave.domain.tally import tally_of

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain.draft import Draft
    from rollwave.domain.model import Batch, State

POLICY_ACTOR: Final = "policy"
"""Who approves a bake or a rollout where the bake policy is auto."""

ENGINE_ACTOR: Final = "engine"
"""Who brakes where failures reach the limit."""


def go_on(draft: Draft) -> bool:
    """Do the first thing that is due; return whether there was one."""
    if draft.state.deployment.phase.is_final:
        return False
    return any(step(draft) for step in STEPS)


def _may_start(state: State) -> bool:
    return state.deployment.brake is None and state.deployment.abort is None


def _let_leave(draft: Draft) -> bool:
    """Held and offline instances leave the plan, unless a worker still drives them."""
    targets = draft.state.targets
    leaving = tuple(
        instance_id
        for instance_id in sorted(tally_of(draft.state).absent)
        if instance_id in targets
        and targets[instance_id].standing in (Standing.PENDING, Standing.VERIFIED, Standing.FAILED)
    )
    if leaving:
        draft.emit(facts.TargetsLeft(instance_ids=leaving))
    return bool(leaving)


def _finish_abort(draft: Draft) -> bool:
    if not draft.state.deployment.abort or Standing.IN_FLIGHT in tally_of(draft.state).standings():
        return False
    waiting = tuple(one.instance_id for one in draft.state.targets.values() if one.standing is Standing.VERIFIED)
    if waiting:
        draft.emit(facts.TargetsLeft(instance_ids=waiting))
    draft.move(Trigger.ABORTED)
    return True


def _start(draft: Draft) -> bool:
    deployment = draft.state.deployment
    if deployment.phase is not Phase.PENDING or not deployment.starts or not _may_start(draft.state):
        return False
    if deployment.needs_approval:
        return False
    draft.begin()
    return True


def _judge_brake(draft: Draft) -> bool:
    deployment = draft.state.deployment
    if not _may_start(draft.state) or deployment.phase in (Phase.PENDING, *FAILED_PHASES):
        return False
    needed = brake.judge(draft.state)
    if needed:
        draft.brake(
            facts.Braked(
                cause=needed.cause,
                reason=needed.reason,
                actor=ENGINE_ACTOR,
                failed_count=needed.failed_count,
                limit_count=needed.limit_count,
            )
        )
    return needed is not None


def _canaries_rest(state: State) -> bool:
    """
    Return whether no canary goes on by itself: each is settled, or waits for room that may never come.

    Those that wait for the bake, or for a retry, hold room here and in the groups on the same servers. Who waits for
    that very room cannot be waited for.
    """
    standings = tally_of(state).standings(batch=1)
    if Standing.IN_FLIGHT in standings:
        return False
    if Standing.PENDING not in standings:
        return True
    holds_room = bool(standings & {Standing.VERIFIED, Standing.FAILED})
    return holds_room and state.deployment.brake is None and not admission.admit(state, 1)


def _finish_canary(draft: Draft) -> bool:
    if draft.state.deployment.phase is not Phase.CANARY or draft.state.deployment.abort:
        return False
    if not _canaries_rest(draft.state):
        return False
    standings = tally_of(draft.state).standings(batch=1)
    is_good = Standing.FAILED not in standings and standings & {Standing.VERIFIED, Standing.SUCCESS}
    draft.move(Trigger.CANARY_VERIFIED if is_good else Trigger.CANARY_FAILED)
    return True


def _give_others_a_turn(draft: Draft) -> bool:
    """Where the canaries that were to be baked have left, those that found no room are verified first, as ever."""
    standings = tally_of(draft.state).standings(batch=1)
    if draft.state.deployment.phase is not Phase.VERIFY_SUCCESS:
        return False
    if Standing.VERIFIED in standings or Standing.PENDING not in standings:
        return False
    draft.move(Trigger.CANARY_LEFT)
    return True


def _finish_bake(draft: Draft) -> bool:
    deployment = draft.state.deployment
    if deployment.phase is not Phase.BAKING or deployment.abort or not _canaries_rest(draft.state):
        return False
    standings = tally_of(draft.state).standings(batch=1)
    if Standing.FAILED in standings:
        draft.move(Trigger.BAKE_FAILED)
    elif Standing.VERIFIED in standings or Standing.SUCCESS not in standings:
        return False
    elif deployment.bake_due_at is None:
        draft.emit(facts.BakeWindowOpened(due_at=draft.now + timedelta(seconds=deployment.config.bake_min_s)))
    elif draft.now < deployment.bake_due_at or deployment.brake:
        return False
    else:
        draft.move(Trigger.BAKED)
    return True


def _finish_rollout(draft: Draft) -> bool:
    if draft.state.deployment.phase is not Phase.ROLLING_OUT or draft.state.deployment.abort:
        return False
    standings = tally_of(draft.state).standings()
    if not all(standing.is_final for standing in standings):
        return False
    # Where every target has left, nothing runs the goal: that is no success that a later release could fall back on.
    is_good = Standing.FAILED not in standings and Standing.SUCCESS in standings
    draft.close_prestage()
    draft.move(Trigger.ALL_SUCCEEDED if is_good else Trigger.SOME_FAILED)
    return True


def _approve_by_policy(draft: Draft) -> bool:
    deployment = draft.state.deployment
    if not _may_start(draft.state) or deployment.config.bake_policy is not BakePolicy.AUTO:
        return False
    if deployment.phase is Phase.VERIFY_SUCCESS:
        draft.approve_bake(actor=POLICY_ACTOR)
        draft.move(Trigger.BAKE)
        return True
    if deployment.phase is Phase.BAKE_SUCCESS:
        draft.move(Trigger.ROLL_OUT)
        draft.release_next_batch()
        return True
    return False


def _open_batch(draft: Draft) -> bool:
    """Open the batch that is next, once its pause is over or a person lets it go."""
    deployment = draft.state.deployment
    batch = next_batch(draft.state)
    if deployment.phase is not Phase.ROLLING_OUT or not _may_start(draft.state) or batch is None or batch.opened:
        return False
    if deployment.goes_by_hand:
        is_due = batch.released
    else:
        pause = pause_before(draft.state, batch)
        if pause and batch.due_at is None:
            draft.emit(facts.BatchScheduled(number=batch.number, due_at=draft.now + pause))
            return True
        is_due = batch.due_at is None or draft.now >= batch.due_at
    if is_due:
        draft.emit(facts.BatchOpened(number=batch.number))
    return is_due


def pause_before(state: State, batch: Batch) -> timedelta:
    """Return how long to wait before *batch*; a rollback never waits. Source: domain.md, rule 5."""
    config = state.deployment.config
    if batch.number == 1 or state.deployment.kind is Kind.ROLLBACK:
        return timedelta(0)
    return timedelta(seconds=config.batch_pause_s if batch.number == 2 else config.tail_pause_s)


def next_due(state: State) -> datetime | None:
    """
    Return when time alone will move *state* on; None where it will not.

    A time that has come but may not act (braked, being aborted) does not count: what lifts that decides again anyway.
    """
    deployment = state.deployment
    if not _may_start(state):
        return None
    if deployment.phase is Phase.BAKING:
        return deployment.bake_due_at
    batch = next_batch(state) if deployment.phase is Phase.ROLLING_OUT else None
    return batch.due_at if batch and not batch.opened else None


def _admit(draft: Draft) -> bool:
    """Admit as many targets of the running batch as the budgets have room for."""
    phase = draft.state.deployment.phase
    if phase not in (Phase.CANARY, Phase.BAKING, Phase.ROLLING_OUT) or not _may_start(draft.state):
        return False
    batch = next_batch(draft.state) if phase is Phase.ROLLING_OUT else draft.state.deployment.canary_batch
    admitted = admission.admit(draft.state, batch.number) if batch and batch.opened else ()
    for opened in admitted:
        draft.emit(opened)
    return bool(admitted)


STEPS: Final = (
    _let_leave,
    _finish_abort,
    _start,
    _judge_brake,
    _finish_canary,
    _give_others_a_turn,
    _finish_bake,
    _finish_rollout,
    _approve_by_policy,
    _open_batch,
    _admit,
)
"""In this order: what ends comes before what begins, and the brake before every beginning (rule 4, I7)."""
