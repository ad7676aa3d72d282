"""What a worker needs to know of each target that it drives."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain.config import FailurePolicy
from rollwave.domain.model import Course, Standing
from rollwave.ports.balancer import Member
from rollwave.ports.executor import Host, HostPlan
from rollwave.ports.packages import SignedPackage
from rollwave.ports.store import Job
from rollwave.store import codec, rows
from rollwave.store.dialect import fetch, pack, recordset
from rollwave.store.models import Deployment, Instance

if TYPE_CHECKING:
    from datetime import datetime

    from rollwave.domain.model import Target
    from rollwave.store.models import Package, Slice

_PLACEHOLDERS: Final = ("server", "port", "app", "group")
"""What a deploy path may name in braces."""

_TARGETS = f"""
SELECT {rows.TARGET} FROM {recordset("instance_id")}
JOIN store_target t ON t.deployment_id = %s AND t.instance_id = fresh.instance_id ORDER BY t.position
"""


def jobs_of(slice_row: Slice, *, now: datetime) -> tuple[Job, ...]:
    """Return a job for every target of a slice that is not settled; for a prestage, that has not begun."""
    deployment = Deployment.objects.select_related("group__app", "goal__app", "previous").get(
        id=slice_row.deployment_id
    )
    targets = _targets(slice_row)
    instances = Instance.objects.select_related("server").in_bulk([target.instance_id for target in targets])
    for instance in instances.values():
        instance.group = deployment.group
    package = signed_package(deployment.goal)
    return tuple(
        _job(target, instances[target.instance_id], deployment=deployment, package=package, now=now)
        for target in targets
    )


def _targets(slice_row: Slice) -> list[Target]:
    named = pack([[instance_id] for instance_id in slice_row.instance_ids])
    targets = map(rows.target, fetch(_TARGETS, named, slice_row.deployment_id))
    if slice_row.course == Course.PRESTAGE.value:
        return [target for target in targets if target.standing is Standing.PENDING]
    return [target for target in targets if target.slice == slice_row.number]


def signed_package(row: Package) -> SignedPackage:
    """Return the value of a package's row that was read with its app."""
    return SignedPackage(
        app=row.app.name,
        version=row.version,
        sha256=row.sha256,
        size=row.size,
        manifest=bytes(row.manifest),
        signature=bytes(row.signature),
        key_id=row.key_id,
        url=row.url,
    )


def member_of(instance: Instance) -> Member:
    """Return an instance, read with its server and group, as its balancer sees it."""
    return Member(
        pool=instance.group.pool,
        name=instance.name,
        address=instance.server.address,
        port=instance.port,
    )


def deploy_path(instance: Instance) -> str:
    """Return the directory of an instance that was read with its server and group."""
    group = instance.group
    values = (instance.server.name, str(instance.port), group.app.name, group.name)
    path = group.deploy_path
    for placeholder, value in zip(_PLACEHOLDERS, values, strict=True):
        path = path.replace(f"{{{placeholder}}}", value)
    return path


def _job(target: Target, instance: Instance, *, deployment: Deployment, package: SignedPackage, now: datetime) -> Job:
    group = deployment.group
    config = codec.config(deployment.config)
    previous = deployment.previous
    plan = HostPlan(
        deployment_id=deployment.id,
        host=Host(
            instance=instance.name,
            server=instance.server.name,
            address=instance.server.address,
            port=instance.port,
            deploy_path=deploy_path(instance),
        ),
        package=package,
        previous_version=previous.version if previous else None,
        start=tuple(group.start),
        stop=tuple(group.stop),
        health_path=group.health_path,
        version_path=group.version_path or None,
        startup_timeout_s=config.startup_timeout_s,
        command_timeout_s=group.command_timeout_s,
        ignore_verify=config.ignore_verify,
        keep_versions=group.keep_versions,
    )
    reserved_until = instance.reserved_until
    return Job(
        target=target,
        plan=plan,
        member=member_of(instance) if group.balancer else None,
        balancer=group.balancer,
        executor=group.executor,
        drain_timeout_s=group.drain_timeout_s,
        restores=config.on_target_failure is FailurePolicy.RESTORE and previous is not None,
        not_before=reserved_until if reserved_until and reserved_until > now else None,
    )
