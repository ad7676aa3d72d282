"""What a person is told first: one coarse status and one sentence that says why."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from rollwave.domain.actions import next_batch, why_not
from rollwave.domain.brake import failed_count
from rollwave.domain.budget import budget_of
from rollwave.domain.commands import Action
from rollwave.domain.config import BatchMode
from rollwave.domain.model import Phase, Standing
from rollwave.domain.tally import tally_of

if TYPE_CHECKING:
    from rollwave.domain.model import State


class Status(Enum):
    """One word for a whole deployment."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    """For a person."""
    BRAKED = "braked"
    FAILED = "failed"
    """Over for now; a person may retry, abort or roll back."""
    ABORTING = "aborting"
    ABORTED = "aborted"
    SUCCEEDED = "succeeded"


class Summary(Struct, frozen=True, kw_only=True):
    """The coarse status, and one sentence that says why."""

    status: Status
    sentence: str


_BY_PHASE: Final = {
    Phase.PENDING: Summary(status=Status.PENDING, sentence="Planned; waits to be started."),
    Phase.BAKE_SUCCESS: Summary(
        status=Status.WAITING, sentence="The canary takes traffic and its bake is over; roll out the rest."
    ),
}

_WAYS_OUT: Final = {Action.RETRY: "retry", Action.ABORT: "abort", Action.ROLLBACK: "roll back"}


def summarize(state: State) -> Summary:
    """Return status and sentence of a deployment."""
    deployment = state.deployment
    counts = Counter(target.standing for target in state.targets.values())
    done = f"{counts[Standing.SUCCESS]} of {len(state.targets)} on {deployment.goal.version}"
    flying = counts[Standing.IN_FLIGHT]
    if deployment.phase is Phase.SUCCESS:
        left = f"; {counts[Standing.LEFT]} left the plan" if counts[Standing.LEFT] else ""
        return Summary(status=Status.SUCCEEDED, sentence=f"Done: {done}{left}.")
    if deployment.phase is Phase.ABORTED:
        return Summary(status=Status.ABORTED, sentence="Given up.")
    if deployment.abort:
        return Summary(status=Status.ABORTING, sentence=f"Being given up; {flying} in flight will finish.")
    failed = failed_count(state)
    if deployment.phase in (Phase.VERIFY_FAILURE, Phase.BAKE_FAILURE, Phase.FAILURE):
        what = {
            Phase.VERIFY_FAILURE: "The canary failed before it took traffic",
            Phase.BAKE_FAILURE: "The bake failed",
            Phase.FAILURE: "Every batch has run",
        }[deployment.phase]
        return Summary(status=Status.FAILED, sentence=f"{what}: {failed} failed, {done}; {_ways_out(state)}.")
    if deployment.brake:
        finishing = f"; {flying} in flight will finish" if flying else ""
        why = deployment.brake.reason or deployment.brake.cause.value
        return Summary(status=Status.BRAKED, sentence=f"Braked: {why}; {done}{finishing}.")
    return _BY_PHASE.get(deployment.phase) or _moving(state, done=done, flying=flying)


def _verified(state: State) -> Summary:
    pending = tally_of(state).targets.get((1, Standing.PENDING), 0)
    others = f"; {pending} more will follow in the bake" if pending else ""
    sentence = f"The canary is verified and out of traffic{others}; bake it to give it traffic."
    return Summary(status=Status.WAITING, sentence=sentence)


def _ways_out(state: State) -> str:
    ways = [words for action, words in _WAYS_OUT.items() if why_not(state, action) is None]
    return " or ".join(part for part in (", ".join(ways[:-1]), ways[-1]) if part)


def _moving(state: State, *, done: str, flying: int) -> Summary:
    deployment = state.deployment
    if deployment.phase is Phase.VERIFY_SUCCESS:
        return _verified(state)
    if deployment.phase is Phase.BAKING and deployment.bake_due_at:
        return Summary(status=Status.RUNNING, sentence=f"Baking until {deployment.bake_due_at:%H:%M:%S} UTC.")
    if not flying:
        return _at_rest(state, done=done)
    what = {
        Phase.CANARY: "The canary is on its way",
        Phase.BAKING: "The canary goes into traffic",
        Phase.ROLLING_OUT: "Rolling out",
    }[deployment.phase]
    return Summary(status=Status.RUNNING, sentence=f"{what}: {done}, {flying} in flight.")


def _at_rest(state: State, *, done: str) -> Summary:
    batch = next_batch(state)
    if batch is None or batch.opened:
        budget = budget_of(state)
        if budget.room_count:
            sentence = f"Waits for room in the groups on the same servers; {done}."
        else:
            sentence = f"Waits for room: {budget.out_count} of {budget.limit_count} allowed are out of traffic; {done}."
        return Summary(status=Status.RUNNING, sentence=sentence)
    if state.deployment.config.batch_mode is BatchMode.MANUAL:
        return Summary(status=Status.WAITING, sentence=f"Batch {batch.number} waits to be let go; {done}.")
    until = f"{batch.due_at:%H:%M:%S} UTC" if batch.due_at else "its turn"
    return Summary(status=Status.RUNNING, sentence=f"Pause before batch {batch.number} until {until}; {done}.")
