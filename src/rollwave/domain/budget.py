"""The one budget: how much of a group may be out of traffic, and how much is. Source: domain.md, rules 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollwave.domain.model import Kind, Standing

if TYPE_CHECKING:
    from rollwave.domain.model import Deployment, Instance, State


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
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


def is_counted(instance: Instance, *, initial: bool) -> bool:
    """Return whether it is capacity: neither held nor offline, and in service unless the whole group is new."""
    return instance.can_take_part and (initial or not instance.new)


def is_out(state: State, instance: Instance) -> bool:
    """Return whether a counted instance is out of traffic, or about to be."""
    if instance.failed or instance.busy_elsewhere:
        return True
    target = state.targets.get(instance.id)
    return target is not None and target.standing in (Standing.IN_FLIGHT, Standing.VERIFIED)


def budget_of(state: State) -> Budget:
    """Return the budget of the deployment's group."""
    initial = state.deployment.initial
    eligible_count = 0
    out_count = 0
    for instance in state.fleet.values():
        if is_counted(instance, initial=initial):
            eligible_count += 1
            out_count += is_out(state, instance)
    return Budget(
        eligible_count=eligible_count, limit_count=limit_for(state.deployment, eligible_count), out_count=out_count
    )
