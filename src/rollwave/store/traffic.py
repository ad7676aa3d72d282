"""Traffic flags: holds, servers that go offline, and what the flags want of each instance at its balancer."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from functools import cache
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Q

from rollwave.domain import model
from rollwave.domain.errors import NotFoundError
from rollwave.domain.model import Entry, Progress, Stage, Standing
from rollwave.domain.traffic import wants_traffic
from rollwave.ports.balancer import Member
from rollwave.ports.store import Wish, Wishes
from rollwave.store import audit, fleets, leases, rows
from rollwave.store.deployments import active_of
from rollwave.store.dialect import fetch
from rollwave.store.models import FINAL_PHASES, Group, Instance, Server, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime


def set_hold(instance_id: int, *, hold: bool, actor: str, reason: str, at: datetime) -> int | None:
    """Raise or clear an operator's hold; return the group's active deployment, if any. Raises NotFoundError."""
    try:
        instance = Instance.objects.select_related("group__app", "server").get(id=instance_id)
    except Instance.DoesNotExist:
        raise NotFoundError(kind="instance", name=instance_id) from None
    # First, as in every transaction that changes what a decision may look at: groups are locked before anything else.
    fleets.touch([instance.group_id])
    before, instance.hold = instance.hold, hold
    instance.hold_by = actor if hold else ""
    instance.hold_reason = reason if hold else ""
    instance.save(update_fields=["hold", "hold_by", "hold_reason"])
    _recall([instance_id])
    active = next(iter(active_of([instance.group_id])), None)
    audit.append([_hold_entry(instance, before=before, actor=actor, reason=reason, at=at)])
    return active


def _hold_entry(instance: Instance, *, before: bool, actor: str, reason: str, at: datetime) -> audit.Entry:
    return audit.Entry(
        at=at,
        actor=actor,
        action="hold" if instance.hold else "unhold",
        subject=instance.name,
        reason=reason,
        app=instance.group.app.name,
        environment=instance.group.environment,
        group=instance.group.name,
        data={"before": {"hold": before}, "after": {"hold": instance.hold}},
    )


def set_offline(server: str, *, offline: bool, actor: str, reason: str, at: datetime) -> list[int]:
    """Say that a server is offline or back; return the deployments that have to look again. Raises NotFoundError."""
    try:
        row = Server.objects.get(name=server)
    except Server.DoesNotExist:
        raise NotFoundError(kind="server", name=server) from None
    fleets.touch_servers([row.id])
    before, row.offline = row.offline, offline
    row.save(update_fields=["offline"])
    on_it = Instance.objects.filter(server=row)
    _recall(list(on_it.values_list("id", flat=True)))
    active = active_of(set(on_it.values_list("group_id", flat=True)))
    action = "offline" if offline else "online"
    data = {"before": {"offline": before}, "after": {"offline": offline}}
    audit.append([audit.Entry(at=at, actor=actor, action=action, subject=server, reason=reason, data=data)])
    return active


def _recall(instance_ids: Collection[int]) -> None:
    driven = Target.objects.exclude(deployment__phase__in=FINAL_PHASES).filter(
        instance_id__in=instance_ids, standing=Standing.IN_FLIGHT.value, slice__isnull=False
    )
    for deployment_id, number in driven.values_list("deployment_id", "slice"):
        if number is not None:
            leases.recall(deployment_id, number)


class _Pool(NamedTuple):
    """A group as far as its members at the balancer are concerned."""

    id: int
    group: str
    version: int
    balancer: str
    name: str


_POOLS = "SELECT g.id, g.name, g.version, g.balancer, g.pool FROM store_group g"

# No more columns than it takes: a group may have 100,000 instances.
_TRAFFIC = f"""
SELECT i.id, s.name, s.address, i.port, i.hold, s.offline, i.failed, i.new, t.standing, t.entry, t.stage, t.progress
FROM store_instance i JOIN store_server s ON s.id = i.server_id LEFT JOIN {rows.MOVING} ON t.instance_id = i.id
"""

_WORKED_ON = f"""
SELECT DISTINCT i.group_id FROM {rows.MOVING} JOIN store_instance i ON i.id = t.instance_id
WHERE t.standing = '{Standing.IN_FLIGHT.value}'
"""


def wishes(*, cached: Wishes | None = None) -> Wishes:
    """Return what the flags want of every instance whose membership no worker is changing right now."""
    # What workers write as they go is in no group's version; all else that a wish depends on is.
    worked_on = {group_id for (group_id,) in fetch(_WORKED_ON)}
    of_groups, versions = {}, {}
    for pool in starmap(_Pool, fetch(f"{_POOLS} WHERE g.balancer <> '' ORDER BY g.id")):
        versions[pool.group] = pool.version
        if cached and cached.versions.get(pool.group) == pool.version and pool.id not in worked_on:
            of_groups[pool.group] = cached.of_groups[pool.group]
        else:
            found = fetch(f"{_TRAFFIC} WHERE i.group_id = %s ORDER BY i.id", pool.id)
            of_groups[pool.group] = tuple(_wishes_of(pool, found))
    return Wishes(of_groups=of_groups, versions=versions)


def wish(instance_id: int) -> Wish | None:
    """Return what the flags want of one instance; None where `wishes` would not name it."""
    its_own = f"{_POOLS} JOIN store_instance i ON i.group_id = g.id WHERE g.balancer <> '' AND i.id = %s"
    found = fetch(f"{_TRAFFIC} WHERE i.id = %s", instance_id)
    return next((one for row in fetch(its_own, instance_id) for one in _wishes_of(_Pool(*row), found)), None)


def _wishes_of(pool: _Pool, found: Iterable[Sequence[Any]]) -> Iterator[Wish]:
    for id_, server, address, port, *flags in found:
        in_traffic = _wants_traffic(*flags)
        if in_traffic is not None:
            member = Member(pool=pool.name, name=f"{pool.group}/{server}:{port}", address=address, port=port)
            yield Wish(instance_id=id_, balancer=pool.balancer, member=member, in_traffic=in_traffic)


@cache
def _wants_traffic(  # noqa: PLR0917  # the end of a row, as it is
    hold: int,
    offline: int,
    failed: int,
    new: int,
    standing: str | None,
    entry: str | None,
    stage: str | None,
    progress: str | None,
) -> bool | None:
    """Ask the domain; once for each combination, for a large fleet has few of them."""
    instance = model.Instance(
        id=0, name="", server="", site="", hold=bool(hold), offline=bool(offline), failed=bool(failed), new=bool(new)
    )
    if standing is None:
        return wants_traffic(instance, None)
    target = model.Target(
        instance_id=0,
        batch=0,
        standing=Standing(standing),
        entry=Entry(entry),
        stage=Stage(stage) if stage else None,
        progress=Progress(progress) if progress else None,
    )
    return wants_traffic(instance, target)


def reserve(wanted: Wish, *, now: datetime, until: datetime) -> bool:
    """
    Keep workers off an instance's traffic until then; False where the wish is out of date or somebody is at work.

    To take an instance out needs no reservation, and waits for none: a worker that puts it in says so first, and then
    the wish is out of date; a keeper that puts it in reads the wish again afterwards.
    """
    # No decision can put a worker on it between the look and the reservation.
    list(Group.objects.select_for_update().filter(instances=wanted.instance_id))
    if wish(wanted.instance_id) != wanted:
        return False
    free = Q(reserved_until__isnull=True) | Q(reserved_until__lte=now)
    return (
        not wanted.in_traffic or Instance.objects.filter(free, id=wanted.instance_id).update(reserved_until=until) == 1
    )
