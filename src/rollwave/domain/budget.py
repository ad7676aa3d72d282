"""The one budget: how much of a group may be out of traffic, and how much is. Source: domain.md, rules 1 and 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from rollwave.domain.model import Kind
from rollwave.domain.tally import tally_of

if TYPE_CHECKING:
    from rollwave.domain.model import Deployment, State


class Budget(Struct, frozen=True, kw_only=True):
    """
    The budget of a group at one instant.

    Attributes:
        eligible_count: Instances that count.
        limit_count: How many of them may be out of traffic.
        out_count: How many are: in flight, failed and not restored, unknown, or with their server busy for
            another group.
    """

    eligible_count: int
    limit_count: int
    out_count: int

    @property
    def room_count(self) -> int:
        """How many more may leave traffic; 0 where holds have shrunk the limit below what is out already."""
        return max(0, self.limit_count - self.out_count)


def limit_of(eligible_count: int, *, max_unavailable_percent: int) -> int:
    """Return the largest number that may be out of traffic, at least 1."""
    return max(1, eligible_count * max_unavailable_percent // 100)


def limit_for(deployment: Deployment, eligible_count: int) -> int:
    """Return a deployment's limit: by its percentage, or half rounded up for a rollback (domain.md, rule 3)."""
    if deployment.kind is Kind.ROLLBACK:
        return max(1, (eligible_count + 1) // 2)
    return limit_of(eligible_count, max_unavailable_percent=deployment.config.max_unavailable_percent)


def budget_of(state: State) -> Budget:
    """Return the budget of the deployment's group."""
    tally = tally_of(state)
    return Budget(
        eligible_count=tally.eligible_count,
        limit_count=limit_for(state.deployment, tally.eligible_count),
        out_count=tally.out_count,
    )
