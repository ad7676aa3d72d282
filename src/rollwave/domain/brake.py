"""When the engine brakes by itself. Source: domain.md, rule 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.budget import budget_of
from rollwave.domain.model import Brake, BrakeCause, Phase, Standing
from rollwave.domain.tally import tally_of

if TYPE_CHECKING:
    from rollwave.domain.model import State


def failed_count(state: State) -> int:
    """Return how many targets the brake counts as failed: those that left the plan are not among them."""
    return tally_of(state).failed_count


def judge(state: State) -> Brake | None:
    """Return the brake that the state calls for, None where it may go on. Judged before every admission."""
    failed = failed_count(state)
    if failed:
        limit_count = budget_of(state).limit_count
        if failed >= limit_count:
            reason = f"{failed} failed, {limit_count} allowed"
            return Brake(cause=BrakeCause.FAILURES, reason=reason, failed_count=failed, limit_count=limit_count)
    if state.deployment.phase in (Phase.VERIFY_SUCCESS, Phase.BAKING) and (
        tally_of(state).standings(batch=1) == {Standing.LEFT}
    ):
        return Brake(cause=BrakeCause.NO_CANARY, reason="every canary left the plan")
    return None
