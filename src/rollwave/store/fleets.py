"""Groups: their instances, and who shares servers with whom."""
# statements are put together from constants; values are always parameters

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.db.models import F, Q
from msgspec.structs import replace

from rollwave.domain import model
from rollwave.domain.errors import NotFoundError
from rollwave.domain.model import Kind, PackageRef, Phase
from rollwave.domain.neighbors import is_working, neighbor
from rollwave.domain.stability import good_packages, stable_packages
from rollwave.ports.store import Fleet
from rollwave.store import codec, rows
from rollwave.store.deployments import active, deployment_value
from rollwave.store.dialect import fetch, fetch_packed
from rollwave.store.models import FINAL_PHASES, Deployment, Group, Instance

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rollwave.domain.model import Neighbor


class GroupVersion(NamedTuple):
    """A group as a version check sees it."""

    id: int
    name: str
    version: int


def read(name: str) -> Fleet:
    """Return a group as it stands; raises NotFoundError."""
    try:
        group = Group.objects.select_related("app").get(name=name)
    except Group.DoesNotExist:
        raise NotFoundError(kind="group", name=name) from None
    instances = instances_of(group.id, busy_servers=busy_servers(group.id, sharing_with(name)))
    ended = _ended(group.id)
    stable, before_stable = stable_packages(ended)
    current = active(group.id)
    return Fleet(
        group=name,
        app=group.app.name,
        instances=instances,
        canaries=tuple(instance.id for instance in instances if instance.server in group.canaries),
        stable=stable,
        before_stable=before_stable,
        good=good_packages(ended),
        active=(current.id, current.phase) if current else None,
    )


def _ended(group_id: int) -> list[tuple[Kind, PackageRef, Phase]]:
    ended = Deployment.objects.filter(group_id=group_id, phase__in=FINAL_PHASES).order_by("id")
    return [
        (Kind(kind), PackageRef(id=package_id, version=version), Phase(phase))
        for kind, package_id, version, phase in ended.values_list("kind", "goal_id", "goal__version", "phase")
    ]


def instances_of(group_id: int, *, busy_servers: frozenset[str] = frozenset()) -> tuple[model.Instance, ...]:
    """Return every instance of a group, oldest first."""
    where = f"FROM {rows.INSTANCES} WHERE i.group_id = %s ORDER BY i.id"
    found = fetch_packed(model.Instance, rows.INSTANCE, where, group_id)
    if not busy_servers:
        return tuple(found)
    return tuple(replace(one, busy_elsewhere=one.server in busy_servers) for one in found)


def sharing_with(group: str) -> Sequence[GroupVersion]:
    """Return the groups that share servers with a group, ordered by name."""
    found = fetch(
        """
        SELECT DISTINCT g.id, g.name, g.version
        FROM store_instance mine
        JOIN store_instance other ON other.server_id = mine.server_id AND other.group_id <> mine.group_id
        JOIN store_group g ON g.id = other.group_id
        WHERE mine.group_id = (SELECT id FROM store_group WHERE name = %s) ORDER BY g.name
        """,
        group,
    )
    return [GroupVersion(*row) for row in found]


def busy_servers(group_id: int, sharing: Sequence[GroupVersion], *, but_for: int | None = None) -> frozenset[str]:
    """
    Return the servers of a group that one of those that share servers with it has out of traffic.

    What group *but_for* does is not counted.
    """
    if not sharing:
        return frozenset()
    found = fetch_packed(
        rows.InstanceWithTarget,
        rows.INSTANCE_WITH_TARGET,
        f"""
        FROM {rows.INSTANCES}
        JOIN store_instance mine ON mine.server_id = i.server_id AND mine.group_id = %s
        LEFT JOIN {rows.MOVING} ON t.instance_id = i.id
        WHERE i.group_id NOT IN (mine.group_id, %s) AND (i.failed OR t.instance_id IS NOT NULL)
        """,
        group_id,
        group_id if but_for is None else but_for,
    )
    return frozenset(one.instance.server for one in found if is_working(one.instance, one.target))


def neighbors_of(group_id: int, sharing: Sequence[GroupVersion]) -> tuple[Neighbor, ...]:
    """
    Return those that share servers with a group, as it sees them.

    The group's own work is not in it: a decision knows that better than what was read before, and counts it itself.
    """
    return tuple(_neighbor(group, seen_by=group_id) for group in sharing)


def _neighbor(group: GroupVersion, *, seen_by: int) -> Neighbor:
    current = active(group.id)
    where = f"FROM {rows.MOVING} JOIN store_instance i ON i.id = t.instance_id WHERE i.group_id = %s"
    moving = fetch_packed(model.Target, rows.TARGET, where, group.id)
    settings = Group.objects.values_list("config", flat=True).get(id=group.id)
    return neighbor(
        group.name,
        fleet=instances_of(group.id, busy_servers=busy_servers(group.id, sharing_with(group.name), but_for=seen_by)),
        targets={target.instance_id: target for target in moving},
        deployment=deployment_value(current) if current else None,
        max_unavailable_percent=codec.config(settings).max_unavailable_percent,
    )


def touch(group_ids: Collection[int]) -> None:
    """
    Say that groups have moved, so that what was loaded of them or of their neighbors is void.

    Their neighbors move too: what these have room for is what their own neighbors, two doors away, may have counted on.
    To be called in the transaction of every change that a decision may look at: instances, holds, settings.
    """
    on_servers = Instance.objects.filter(group__in=group_ids).values("server")
    sharing = Instance.objects.filter(server__in=on_servers).values("group")
    _move(Q(id__in=group_ids) | Q(id__in=sharing))


def touch_servers(server_ids: Collection[int]) -> None:
    """
    Say that every group with an instance on these servers has moved; to be called where a server changes.

    That is all: nobody counts on a server that he does not stand on, but by the room of a group that does.
    """
    _move(Q(instances__server__in=server_ids))


def _move(which: Q) -> None:
    # Locked in the order in which every transaction locks groups, so that none waits for another in a circle.
    locked = Group.objects.select_for_update().filter(id__in=Group.objects.filter(which)).order_by("name")
    with transaction.atomic(savepoint=False):
        ids = list(locked.values_list("id", flat=True))
        Group.objects.filter(id__in=ids).update(version=F("version") + 1)
