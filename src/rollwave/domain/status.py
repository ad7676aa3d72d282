"""What a person is told first: one coarse status, and the facts of the one sentence that says why."""

from __future__ import annotations

from collections import Counter
from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from enum import Enum
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from rollwave.domain.actions import next_batch, why_not
from rollwave.domain.brake import failed_count
from rollwave.domain.budget import budget_of
from rollwave.domain.commands import Action
from rollwave.domain.model import Brake, Phase, Standing
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


class Why(Enum):
    """Why the status is what it is: one sentence for each."""

    PLANNED = "planned"
    APPROVAL_WAITS = "approval_waits"
    """For somebody else than who asked."""
    CANARY_MOVES = "canary_moves"
    CANARY_VERIFIED = "canary_verified"
    CANARY_FAILED = "canary_failed"
    BAKE_MOVES = "bake_moves"
    BAKE_LASTS = "bake_lasts"
    BAKE_IS_OVER = "bake_is_over"
    BAKE_FAILED = "bake_failed"
    ROLLS_OUT = "rolls_out"
    PAUSE = "pause"
    BATCH_WAITS = "batch_waits"
    """For a person."""
    NO_ROOM = "no_room"
    NO_ROOM_AT_NEIGHBORS = "no_room_at_neighbors"
    BRAKED = "braked"
    SOME_FAILED = "some_failed"
    BEING_GIVEN_UP = "being_given_up"
    GIVEN_UP = "given_up"
    DONE = "done"


class Summary(Struct, frozen=True, kw_only=True):
    """
    The coarse status, and what its sentence is made of (`rollwave.words` makes it).

    Attributes:
        status: The coarse status.
        why: Which sentence.
        version: The goal.
        total_count: Targets in all.
        done_count: Those that are on the goal, in traffic.
        flying_count: Those in flight.
        failed_count: Those that the brake counts as failed.
        left_count: Those that left the plan.
        following_count: For CANARY_VERIFIED: canaries that follow in the bake.
        out_count: For NO_ROOM: how many are out of traffic.
        limit_count: For NO_ROOM: how many may be.
        batch: For PAUSE and BATCH_WAITS: number of the batch.
        until: For PAUSE and BAKE_LASTS: its end; None where it is not known yet.
        brake: For BRAKED.
        ways_out: For a failed phase: the actions that lead on.
        actor: For APPROVAL_WAITS: who asked.
    """

    status: Status
    why: Why
    version: str
    total_count: int
    done_count: int
    flying_count: int
    failed_count: int
    left_count: int
    following_count: int = 0
    out_count: int = 0
    limit_count: int = 0
    batch: int = 0
    until: datetime | None = None
    brake: Brake | None = None
    ways_out: tuple[Action, ...] = ()
    actor: str = ""


_FAILED: Final = {
    Phase.VERIFY_FAILURE: Why.CANARY_FAILED,
    Phase.BAKE_FAILURE: Why.BAKE_FAILED,
    Phase.FAILURE: Why.SOME_FAILED,
}

_MOVING: Final = {
    Phase.CANARY: Why.CANARY_MOVES,
    Phase.BAKING: Why.BAKE_MOVES,
    Phase.ROLLING_OUT: Why.ROLLS_OUT,
}

_WAYS_OUT: Final = (Action.RETRY, Action.ABORT, Action.ROLLBACK)


def summarize(state: State) -> Summary:  # noqa: PLR0911  # one for each way to stand
    """Return how a deployment stands."""
    deployment = state.deployment
    counts = Counter(target.standing for target in state.targets.values())
    told = Summary(
        status=Status.PENDING,
        why=Why.PLANNED,
        version=deployment.goal.version,
        total_count=len(state.targets),
        done_count=counts[Standing.SUCCESS],
        flying_count=counts[Standing.IN_FLIGHT],
        failed_count=failed_count(state),
        left_count=counts[Standing.LEFT],
    )
    if deployment.phase is Phase.SUCCESS:
        return replace(told, status=Status.SUCCEEDED, why=Why.DONE)
    if deployment.phase is Phase.ABORTED:
        return replace(told, status=Status.ABORTED, why=Why.GIVEN_UP)
    if deployment.abort:
        return replace(told, status=Status.ABORTING, why=Why.BEING_GIVEN_UP)
    if deployment.phase in _FAILED:
        ways_out = tuple(action for action in _WAYS_OUT if why_not(state, action) is None)
        return replace(told, status=Status.FAILED, why=_FAILED[deployment.phase], ways_out=ways_out)
    if deployment.brake:
        return replace(told, status=Status.BRAKED, why=Why.BRAKED, brake=deployment.brake)
    if deployment.phase is Phase.PENDING and deployment.needs_approval:
        return replace(told, status=Status.WAITING, why=Why.APPROVAL_WAITS, actor=deployment.actor)
    if deployment.phase is Phase.PENDING:
        return told
    if deployment.phase is Phase.BAKE_SUCCESS:
        return replace(told, status=Status.WAITING, why=Why.BAKE_IS_OVER)
    if deployment.phase is Phase.VERIFY_SUCCESS:
        following = tally_of(state).targets.get((1, Standing.PENDING), 0)
        return replace(told, status=Status.WAITING, why=Why.CANARY_VERIFIED, following_count=following)
    return _moving(state, replace(told, status=Status.RUNNING))


def _moving(state: State, told: Summary) -> Summary:
    deployment = state.deployment
    if deployment.phase is Phase.BAKING and deployment.bake_due_at:
        return replace(told, why=Why.BAKE_LASTS, until=deployment.bake_due_at)
    if told.flying_count:
        return replace(told, why=_MOVING[deployment.phase])
    batch = next_batch(state)
    if batch is None or batch.opened:
        budget = budget_of(state)
        if budget.room_count:
            return replace(told, why=Why.NO_ROOM_AT_NEIGHBORS)
        return replace(told, why=Why.NO_ROOM, out_count=budget.out_count, limit_count=budget.limit_count)
    if deployment.goes_by_hand:
        return replace(told, status=Status.WAITING, why=Why.BATCH_WAITS, batch=batch.number)
    return replace(told, why=Why.PAUSE, batch=batch.number, until=batch.due_at)
