"""The law of room, I1: how many instances of a group may be out of traffic, its own work and its neighbors' counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.model import Entry
from rollwave.testing.simulation.chronicle import limit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollwave.domain import facts
    from rollwave.domain.model import Instance
    from rollwave.testing.simulation.chronicle import Chronicle
    from rollwave.testing.simulation.sight import Sight


class RoomLaw:
    """
    Counts what is out of traffic in the world at each admission.

    Args:
        sight: What there is to see.
    """

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def check_admission(self, chronicle: Chronicle, opened: facts.SliceOpened) -> None:
        """I1: what is out of traffic in the world, or is about to be, is at most the limit, at each admission."""
        group = chronicle.state.deployment.group
        fresh = [one for one, entry in opened.entries if entry is not Entry.BAKE and self._takes_out(one)]
        for name in sorted({group, *(self._sight.groups[other] for one in fresh for other in self._sight.beside(one))}):
            if name != group and not any(self._costs(one, name) for one in fresh):
                continue
            fleet = self._sight.fleet(name)
            out = [one.name for one in fleet if self._is_out(one, name)]
            limit = self._limit(name, fleet)
            if fresh and len(out) > limit:
                self._sight.fail("I1", f"{name}: {len(out)} out of traffic, {limit} allowed: {out}")

    def _takes_out(self, instance_id: int) -> bool:
        """
        Whether admitting an instance takes it out; what was out, or has its server busy elsewhere, costs nothing.

        Nor does one that failed, and that its balancer has in all the same because it did not answer when told.
        """
        is_excused = self._sight.names[instance_id] in self._sight.excused or self._sight.instance(instance_id).failed
        return self._sight.in_traffic(instance_id) and not is_excused and not self._is_busy(instance_id, but_for=())

    def _costs(self, instance_id: int, neighbor: str) -> bool:
        """Whether working on an instance takes another group's instance out that was in until now."""
        beside = [one for one in self._sight.beside(instance_id) if self._sight.groups[one] == neighbor]
        return any(
            self._sight.instance(one).can_take_part
            and self._sight.in_traffic(one)
            and not self._sight.is_underway(one)
            and not self._is_busy(one, but_for=(self._sight.groups[instance_id],))
            for one in beside
        )

    def _is_busy(self, instance_id: int, *, but_for: Sequence[str]) -> bool:
        """Whether another group than these has the instance's server out of traffic."""
        own = self._sight.groups[instance_id]
        return any(
            self._has_out(one) and not self._sight.instance(one).hold and self._counts_elsewhere(one)
            for one in self._sight.beside(instance_id)
            if self._sight.groups[one] != own and self._sight.groups[one] not in but_for
        )

    def _limit(self, group: str, fleet: Sequence[Instance]) -> int:
        active = self._sight.world.store.active_of(group)
        if active is not None:
            return limit_of(self._sight.chronicles[active].state, fleet)
        eligible = [one for one in fleet if one.can_take_part and not one.new]
        return max(1, len(eligible) * 25 // 100)

    def _is_out(self, instance: Instance, group: str) -> bool:
        active = self._sight.world.store.active_of(group)
        initial = active is not None and self._sight.chronicles[active].state.deployment.initial
        if not instance.can_take_part or (instance.new and not initial):
            return False
        return self._has_out(instance.id) or self._is_busy(instance.id, but_for=())

    def _counts_elsewhere(self, instance_id: int) -> bool:
        instance = self._sight.instance(instance_id)
        return instance.failed or self._sight.is_underway(instance_id)

    def _has_out(self, instance_id: int) -> bool:
        """Whether an instance is out of traffic or about to be; one that is well and was let go is on its way back."""
        if self._sight.is_underway(instance_id):
            return True
        instance = self._sight.instance(instance_id)
        if instance.new:
            return instance.failed
        let_go = self._sight.was_flagged_recently(instance_id) or self._sight.was_put_wrong_recently(instance_id)
        return not self._sight.in_traffic(instance_id) and not (let_go and not instance.failed)
