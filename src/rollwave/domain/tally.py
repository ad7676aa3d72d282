"""
Counts over a state's targets and instances. A decision asks for them again and again, and a group may have 100,000.

They follow from the state, and are kept beside it only as a cache: a state that is made anew counts when it is asked,
and the fold carries the counts on by what a fact changed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from rollwave.domain.model import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rollwave.domain.model import Instance, State


class Tally(Struct, frozen=True, kw_only=True):
    """
    The counts.

    Attributes:
        targets: How many targets there are by batch and standing; only what is there has an entry.
        failed_count: Targets that the brake counts as failed: those that left the plan are not among them.
        eligible_count: Instances that count as capacity.
        out_count: How many of those are out of traffic, or about to be.
        absent: Ids of the instances that cannot take part: held, or offline.
    """

    targets: Mapping[tuple[int, Standing], int]
    failed_count: int
    eligible_count: int
    out_count: int
    absent: frozenset[int]

    def standings(self, batch: int | None = None) -> set[Standing]:
        """Return the standings that occur in *batch*, or in any."""
        return {standing for number, standing in self.targets if batch in (None, number)}


def is_counted(instance: Instance, *, initial: bool) -> bool:
    """Return whether it is capacity: neither held nor offline, and in service unless the whole group is new."""
    return instance.can_take_part and (initial or not instance.new)


def is_out(state: State, instance: Instance) -> bool:
    """Return whether a counted instance is out of traffic, or about to be."""
    if instance.failed or instance.busy_elsewhere:
        return True
    target = state.targets.get(instance.id)
    return target is not None and target.standing in (Standing.IN_FLIGHT, Standing.VERIFIED)


def tally_of(state: State) -> Tally:
    """Return the counts of *state*."""
    if state.cached_tally is None:
        _keep(state, _counted(state, state.fleet, _NOTHING, sign=1))
    assert state.cached_tally is not None
    return state.cached_tally


def carry_on(before: State, after: State, changed: Iterable[int] = ()) -> State:
    """Return *after* with the counts of *before*, put right for the instances and targets that *changed*."""
    if before.cached_tally is not None:
        ids = tuple(changed)
        without = _counted(before, ids, before.cached_tally, sign=-1) if ids else before.cached_tally
        _keep(after, _counted(after, ids, without, sign=1) if ids else without)
    return after


def _keep(state: State, tally: Tally) -> None:
    object.__setattr__(state, "cached_tally", tally)


_NOTHING = Tally(targets={}, failed_count=0, eligible_count=0, out_count=0, absent=frozenset())


def _counted(state: State, ids: Iterable[int], so_far: Tally, *, sign: int) -> Tally:
    """Return *so_far* with (or, by *sign*, without) what the instances *ids* of *state* count for."""
    initial = state.deployment.initial
    targets = Counter(so_far.targets)
    failed_count, eligible_count, out_count = so_far.failed_count, so_far.eligible_count, so_far.out_count
    absent = set(so_far.absent)
    for alike in _alike(state, ids):
        count = sign * len(alike)
        instance, target = state.fleet[alike[0]], state.targets.get(alike[0])
        if target is not None:
            targets[target.batch, target.standing] += count
            failed_count += count * (target.counts_as_failed and instance.can_take_part)
        if is_counted(instance, initial=initial):
            eligible_count += count
            out_count += count * is_out(state, instance)
        if not instance.can_take_part:
            (absent.update if sign > 0 else absent.difference_update)(alike)
    return Tally(
        targets={place: count for place, count in targets.items() if count},
        failed_count=failed_count,
        eligible_count=eligible_count,
        out_count=out_count,
        absent=frozenset(absent),
    )


def _alike(state: State, ids: Iterable[int]) -> Iterable[list[int]]:
    """Return *ids* in groups of which every instance counts for the same: of thousands most do."""
    groups: dict[tuple[object, ...], list[int]] = {}
    fleet, targets = state.fleet, state.targets
    for instance_id in ids:
        one, target = fleet[instance_id], targets.get(instance_id)
        flags = one.hold, one.offline, one.failed, one.new, one.busy_elsewhere
        key = flags if target is None else (flags, target.batch, target.standing, target.failure is None)
        group = groups.get(key)
        if group is None:
            groups[key] = [instance_id]
        else:
            group.append(instance_id)
    return groups.values()
