"""What a worker needs to know of each target that it drives."""
# ruff: noqa: S608  # statements are put together from constants; values are always parameters

from __future__ import annotations

from functools import partial
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
    from rollwave.store.models import Group, Package, Slice

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
    # Tuples and not rows with their servers: a slice has hundreds.
    columns = Instance.objects.values_list("id", "server__name", "server__address", "port", "reserved_until")
    places = {place[0]: place[1:] for place in columns.filter(id__in=[one.instance_id for one in targets])}
    make = _JobMaker(deployment, now=now)
    return tuple(make(target, *places[target.instance_id]) for target in targets)


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


def deploy_path(group: Group, *, server: str, port: int) -> str:
    """Return the directory of an instance of a group, which was read with its app."""
    path = group.deploy_path
    values = (server, str(port), group.app.name, group.name)
    for placeholder, value in zip(_PLACEHOLDERS, values, strict=True):
        path = path.replace(f"{{{placeholder}}}", value)
    return path


class _JobMaker:
    """Makes the jobs of one deployment; what they have in common is worked out once."""

    def __init__(self, deployment: Deployment, *, now: datetime) -> None:
        self._group = group = deployment.group
        self._now = now
        config = codec.config(deployment.config)
        previous = deployment.previous
        self._restores = config.on_target_failure is FailurePolicy.RESTORE and previous is not None
        self._plan = partial(
            HostPlan,
            deployment_id=deployment.id,
            package=signed_package(deployment.goal),
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

    def __call__(self, target: Target, server: str, address: str, port: int, reserved_until: datetime | None) -> Job:
        group = self._group
        name = f"{group.name}/{server}:{port}"
        path = deploy_path(group, server=server, port=port)
        host = Host(instance=name, server=server, address=address, port=port, deploy_path=path)
        return Job(
            target=target,
            plan=self._plan(host=host),
            member=Member(pool=group.pool, name=name, address=address, port=port) if group.balancer else None,
            balancer=group.balancer,
            executor=group.executor,
            drain_timeout_s=group.drain_timeout_s,
            restores=self._restores,
            not_before=reserved_until if reserved_until and reserved_until > self._now else None,
        )
