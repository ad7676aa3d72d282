"""Deployments: rows to values, and when something of them is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Min

from rollwave.domain import model
from rollwave.domain.errors import NotFoundError
from rollwave.domain.model import Course, Kind, PackageRef, Phase
from rollwave.store import codec, rows
from rollwave.store.dialect import fetch_packed
from rollwave.store.models import FINAL_PHASES, Deployment, Package, Slice

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.db.models import QuerySet


def row_of(deployment_id: int) -> Deployment:
    """Return a deployment's row with its group and packages; raises NotFoundError."""
    try:
        return Deployment.objects.select_related("group", "goal", "previous").get(id=deployment_id)
    except Deployment.DoesNotExist:
        raise NotFoundError(kind="deployment", name=deployment_id) from None


def active(group_id: int) -> Deployment | None:
    """Return the row of a group's deployment that is not final, with its group and packages; None without one."""
    running = Deployment.objects.exclude(phase__in=FINAL_PHASES).select_related("group", "goal", "previous")
    return running.filter(group_id=group_id).first()


def _package_ref(package: Package) -> PackageRef:
    return PackageRef(id=package.id, version=package.version)


def deployment_value(row: Deployment) -> model.Deployment:
    """Return the value of a row that was read with its group and packages."""
    return model.Deployment(
        id=row.id,
        group=row.group.name,
        kind=Kind(row.kind),
        goal=_package_ref(row.goal),
        previous=_package_ref(row.previous) if row.previous else None,
        config=codec.config(row.config),
        initial=row.initial,
        starts=row.starts,
        phase=Phase(row.phase),
        brake=codec.brake(row.brake),
        abort=codec.abort(row.abort),
        batches=codec.batches(row.batches),
        slices=_open_slices(row.id),
        last_slice=row.last_slice,
        bake_due_at=row.bake_due_at,
        actor=row.actor,
        approved_by=row.approved_by or None,
    )


def _open_slices(deployment_id: int) -> dict[int, model.Slice]:
    found = Slice.objects.filter(deployment_id=deployment_id, closed=False).order_by("number")
    return {
        number: model.Slice(number=number, course=Course(course), instance_ids=tuple(instance_ids))
        for number, course, instance_ids in found.values_list("number", "course", "instance_ids")
    }


def targets_of(deployment_id: int) -> dict[int, model.Target]:
    """Return the targets of a deployment by instance id, in rolling order, as the last record left them."""
    where = "FROM store_target t WHERE t.deployment_id = %s ORDER BY t.position"
    found = fetch_packed(model.Target, rows.TARGET, where, deployment_id)
    return {target.instance_id: target for target in found}


def due(now: datetime) -> list[int]:
    """Return the deployments that have something due, the one that waits longest first."""
    return list(Deployment.objects.filter(due_at__lte=now).order_by("due_at", "id").values_list("id", flat=True))


def next_due() -> datetime | None:
    """Return the earliest due time of any deployment."""
    earliest: datetime | None = Deployment.objects.aggregate(earliest=Min("due_at"))["earliest"]
    return earliest


def resting() -> dict[int, int]:
    """Return every deployment that is not final and has no slice open, with the version of its group."""
    at_work = Slice.objects.filter(closed=False).values("deployment")
    found = Deployment.objects.exclude(phase__in=FINAL_PHASES).exclude(id__in=at_work)
    return dict(found.values_list("id", "group__version"))


def active_of(group_ids: Collection[int]) -> list[int]:
    """Return the deployments of groups that are not final, oldest first."""
    running = Deployment.objects.exclude(phase__in=FINAL_PHASES).filter(group_id__in=group_ids)
    return list(running.order_by("id").values_list("id", flat=True))


def unfollowed_rollbacks() -> list[tuple[int, str, PackageRef]]:
    """Return the aborted deployments whose rollback is still to be started: id, group, package."""
    found = []
    for deployment_id, group, stored in _unfollowed().order_by("id").values_list("id", "group__name", "abort"):
        abort = codec.abort(stored)
        if abort and abort.rollback_to:
            found.append((deployment_id, group, abort.rollback_to))
    return found


def follow(group_id: int, *, by: int) -> None:
    """Record that deployment *by* comes instead of every rollback of its group that is still to be started."""
    _unfollowed().filter(group_id=group_id).update(followed_by=by)


def _unfollowed() -> QuerySet[Deployment]:
    return Deployment.objects.filter(
        phase=Phase.ABORTED.value, followed_by__isnull=True, abort__rollback_to__id__isnull=False
    )
