"""Traffic flags: holds, servers that go offline, and what the flags want of each instance at its balancer."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Q

from rollwave.domain.errors import NotFoundError
from rollwave.domain.model import Standing
from rollwave.domain.traffic import wants_traffic
from rollwave.ports.balancer import Member
from rollwave.ports.store import Wish
from rollwave.store import fleets, leases, rows
from rollwave.store.deployments import active_of
from rollwave.store.dialect import fetch
from rollwave.store.models import FINAL_PHASES, AuditEntry, Instance, Server, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime


def set_hold(instance_id: int, *, hold: bool, actor: str, reason: str, at: datetime) -> int | None:
    """Raise or clear an operator's hold; return the group's active deployment, if any. Raises NotFoundError."""
    try:
        instance = Instance.objects.select_related("group", "server").get(id=instance_id)
    except Instance.DoesNotExist:
        raise NotFoundError(kind="instance", name=instance_id) from None
    instance.hold = hold
    instance.hold_by = actor if hold else ""
    instance.hold_reason = reason if hold else ""
    instance.save(update_fields=["hold", "hold_by", "hold_reason"])
    AuditEntry.objects.create(
        at=at, actor=actor, action="hold" if hold else "unhold", subject=instance.name, reason=reason
    )
    _recall([instance_id])
    fleets.touch([instance.group_id])
    return next(iter(active_of([instance.group_id])), None)


def set_offline(server: str, *, offline: bool, actor: str, reason: str, at: datetime) -> list[int]:
    """Say that a server is offline or back; return the deployments that have to look again. Raises NotFoundError."""
    try:
        row = Server.objects.get(name=server)
    except Server.DoesNotExist:
        raise NotFoundError(kind="server", name=server) from None
    row.offline = offline
    row.save(update_fields=["offline"])
    AuditEntry.objects.create(
        at=at, actor=actor, action="offline" if offline else "online", subject=server, reason=reason
    )
    on_it = Instance.objects.filter(server=row)
    _recall(list(on_it.values_list("id", flat=True)))
    fleets.touch_servers([row.id])
    return active_of(set(on_it.values_list("group_id", flat=True)))


def _recall(instance_ids: Collection[int]) -> None:
    driven = Target.objects.exclude(deployment__phase__in=FINAL_PHASES).filter(
        instance_id__in=instance_ids, standing=Standing.IN_FLIGHT.value, slice__isnull=False
    )
    for deployment_id, number in driven.values_list("deployment_id", "slice"):
        if number is not None:
            leases.recall(deployment_id, number)


_TRAFFIC = f"""
SELECT g.balancer, g.pool, s.address, i.port, {rows.TARGET}, {rows.INSTANCE}
FROM {rows.INSTANCES} LEFT JOIN {rows.MOVING} ON t.instance_id = i.id WHERE g.balancer <> ''
"""


def wishes() -> list[Wish]:
    """Return what the flags want of every instance whose membership no worker is changing right now."""
    found = map(_wish, fetch(f"{_TRAFFIC} ORDER BY i.id"))
    return [one for one in found if one is not None]


def wish(instance_id: int) -> Wish | None:
    """Return what the flags want of one instance; None where `wishes` would not name it."""
    return next(map(_wish, fetch(f"{_TRAFFIC} AND i.id = %s", instance_id)), None)


def _wish(row: Sequence[Any]) -> Wish | None:
    balancer, pool, address, port, *known = row
    instance, target = rows.instance_with_target(known)
    in_traffic = wants_traffic(instance, target)
    if in_traffic is None:
        return None
    return Wish(
        instance_id=instance.id,
        balancer=balancer,
        member=Member(pool=pool, name=instance.name, address=address, port=port),
        in_traffic=in_traffic,
    )


def reserve(wanted: Wish, *, now: datetime, until: datetime) -> bool:
    """
    Keep workers off an instance's traffic until then; False where the wish is out of date or somebody is at work.

    To take an instance out needs no reservation, and waits for none: a worker that puts it in says so first, and then
    the wish is out of date; a keeper that puts it in reads the wish again afterwards.
    """
    if wish(wanted.instance_id) != wanted:
        return False
    free = Q(reserved_until__isnull=True) | Q(reserved_until__lte=now)
    return (
        not wanted.in_traffic or Instance.objects.filter(free, id=wanted.instance_id).update(reserved_until=until) == 1
    )
