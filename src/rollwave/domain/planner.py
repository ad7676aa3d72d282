"""Who rolls with whom, and in which order. Source: domain.md, rule 3."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from rollwave.domain.budget import limit_of
from rollwave.domain.errors import EmptyGroupError
from rollwave.domain.model import Kind
from rollwave.domain.tally import is_counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rollwave.domain.config import DeploymentConfig
    from rollwave.domain.model import Instance

_SCALE: Final = 1 << 40
"""Resolution of an instance's place inside its site: integers, so that the order never depends on rounding."""


def spread_over_sites(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Return *instances* interleaved: any run of them has each site in proportion; order inside a site is kept."""
    by_site: defaultdict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_site[instance.site].append(instance)
    placed = [
        ((2 * index + 1) * _SCALE // len(members), site, index, instance)
        for site, members in by_site.items()
        for index, instance in enumerate(members)
    ]
    placed.sort(key=lambda place: place[:3])
    return tuple(place[3] for place in placed)


def balanced_sizes(count: int, *, limit_count: int) -> tuple[int, ...]:
    """Return as few batch sizes as *limit_count* allows, larger ones first, no two more than one apart; none for 0."""
    batch_count = -(-count // limit_count)
    return tuple(count // batch_count + (index < count % batch_count) for index in range(batch_count))


def plan_batches(
    instances: Sequence[Instance], *, limit_count: int, canary_count: int = 1, canaries: Collection[int] = ()
) -> tuple[tuple[int, ...], ...]:
    """
    Return the instance ids of every batch in the order they roll, the canary batch first.

    Args:
        instances: Eligible instances, each once; the order is kept inside a site.
        limit_count: Most targets that one batch may pull out, at least 1.
        canary_count: Targets of batch 1; 0 for a rollback or a scale-out.
        canaries: Ids of instances that the group prefers as canaries.

    Raises:
        EmptyGroupError: If *instances* is empty.

    Source: domain.md, rule 3.
    """
    if not instances:
        raise EmptyGroupError(group="", hint="register instances, lift a hold, or bring a server back online")
    ordered = spread_over_sites(instances)
    canary_ids = _choose_canaries(ordered, limit_count=limit_count, canary_count=canary_count, canaries=canaries)
    # After the canaries the broken ones come first: they are out of traffic already and cost the budget nothing.
    rest = [
        instance.id for instance in sorted(ordered, key=lambda one: not one.failed) if instance.id not in canary_ids
    ]
    batches = [tuple(canary_ids)] if canary_ids else []
    start = 0
    for size in balanced_sizes(len(rest), limit_count=limit_count):
        batches.append(tuple(rest[start : start + size]))
        start += size
    return tuple(batches)


def _choose_canaries(
    ordered: Sequence[Instance], *, limit_count: int, canary_count: int, canaries: Collection[int]
) -> list[int]:
    """
    Return the ids of the canaries, at most *limit_count*.

    A broken instance proves nothing about the new version, so it is the last choice. But it holds a place of the budget
    already: only the places that are left can be given to others, or the canary batch could never start.
    """
    by_preference = sorted(ordered, key=lambda instance: instance.id not in canaries)
    broken = [instance.id for instance in by_preference if instance.failed]
    room_count = max(0, limit_count - len(broken))
    whole = [instance.id for instance in by_preference if not instance.failed][:room_count]
    return [*whole, *broken][: min(canary_count, limit_count)]


def select_targets(fleet: Iterable[Instance], *, kind: Kind) -> tuple[Instance, ...]:
    """
    Return the instances that a deployment of *kind* plans.

    All that can take part; for a scale-out only the new ones, for a rollback only those that have served before.
    """
    wanted_new = {Kind.SCALE_OUT: (True,), Kind.ROLLBACK: (False,)}.get(kind, (False, True))
    return tuple(instance for instance in fleet if instance.can_take_part and instance.new in wanted_new)


def plan(
    fleet: Sequence[Instance], *, group: str, kind: Kind, config: DeploymentConfig, canaries: Collection[int] = ()
) -> tuple[tuple[tuple[int, ...], ...], bool]:
    """
    Return the batches of a deployment (instance ids) and whether the first of them is a canary batch.

    Raises:
        EmptyGroupError: If no instance can take part.
    """
    targets = select_targets(fleet, kind=kind)
    if not targets:
        hint = (
            "every instance is in service already"
            if kind is Kind.SCALE_OUT
            else "register instances, lift a hold, or bring a server back online"
        )
        raise EmptyGroupError(group=group, hint=hint)
    initial = is_initial(fleet)
    eligible_count = sum(is_counted(instance, initial=initial) for instance in fleet)
    if kind is Kind.ROLLBACK:
        limit_count = max(1, (len(targets) + 1) // 2)
    else:
        limit_count = limit_of(eligible_count, max_unavailable_percent=config.max_unavailable_percent)
    canary_count = config.canary_count if kind in (Kind.ROLLOUT, Kind.REROLL) else 0
    batches = plan_batches(targets, limit_count=limit_count, canary_count=canary_count, canaries=canaries)
    return batches, canary_count > 0


def is_initial(fleet: Iterable[Instance]) -> bool:
    """Return whether no instance of the group has ever been in service."""
    return all(instance.new for instance in fleet)
