"""What a worker needs to know of each target that it drives."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from rollwave.domain.config import FailurePolicy
from rollwave.domain.model import Course, Standing, Target
from rollwave.ports.balancer import Member
from rollwave.ports.executor import Host, HostPlan
from rollwave.ports.packages import SignedPackage
from rollwave.ports.store import Job
from rollwave.store import codec, rows
from rollwave.store.dialect import fetch_packed, pack, packed, packed_time, recordset
from rollwave.store.instants import unix_us
from rollwave.store.models import Deployment

if TYPE_CHECKING:
    from rollwave.ports.store import Claim
    from rollwave.store.models import Group, Package


class _Place(Struct, frozen=True, array_like=True):
    """A target and where it is."""

    target: Target
    server: str
    address: str
    port: int
    reserved_until: datetime | None


_PLACE = packed(
    _Place,
    target=rows.TARGET,
    server="s.name",
    address="s.address",
    port="i.port",
    reserved_until=packed_time("i.reserved_until"),
)

_PLACES = f"""
FROM {recordset("instance_id")}
JOIN store_target t ON t.deployment_id = %s AND t.instance_id = fresh.instance_id
JOIN store_instance i ON i.id = t.instance_id JOIN store_server s ON s.id = i.server_id ORDER BY t.position
"""


def jobs_of(claim: Claim, *, now: datetime) -> tuple[Job, ...]:
    """Return a job for every target of a slice that is not settled; for a prestage, that has not begun."""
    deployment_id, number = claim.key
    deployment = Deployment.objects.select_related("group__app", "goal__app", "previous").get(id=deployment_id)
    make = _JobMaker(deployment, now=now)
    named = pack([[instance_id] for instance_id in claim.instance_ids])
    places = fetch_packed(_Place, _PLACE, _PLACES, named, deployment_id)
    if claim.course is Course.PRESTAGE:
        return tuple(make(place) for place in places if place.target.standing is Standing.PENDING)
    return tuple(make(place) for place in places if place.target.slice == number)


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
    return _for_instance(_for_group(group), server=server, port=port)


def _for_group(group: Group) -> str:
    return group.deploy_path.replace("{app}", group.app.name).replace("{group}", group.name)


def _for_instance(path: str, *, server: str, port: int) -> str:
    # Names hold no braces, so that nothing that was put in can be taken for a placeholder.
    return path.replace("{server}", server).replace("{port}", str(port))


class _JobMaker:
    """Makes the jobs of one deployment; what they have in common is worked out once."""

    def __init__(self, deployment: Deployment, *, now: datetime) -> None:
        self._group = group = deployment.group
        self._path = _for_group(group)
        self._now = now
        config = codec.config(deployment.config)
        previous = deployment.previous
        self._restores = config.on_target_failure is FailurePolicy.RESTORE and previous is not None
        self._plan = partial(
            HostPlan,
            deployment_id=deployment.id,
            created_us=unix_us(deployment.created_at),
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

    def __call__(self, place: _Place) -> Job:
        group, server, address, port = self._group, place.server, place.address, place.port
        reserved_until = place.reserved_until
        name = f"{group.name}/{server}:{port}"
        path = _for_instance(self._path, server=server, port=port)
        host = Host(instance=name, server=server, address=address, port=port, deploy_path=path)
        return Job(
            target=place.target,
            plan=self._plan(host=host),
            member=Member(pool=group.pool, name=name, address=address, port=port) if group.balancer else None,
            balancer=group.balancer,
            executor=group.executor,
            drain_timeout_s=group.drain_timeout_s,
            restores=self._restores,
            not_before=reserved_until if reserved_until and reserved_until > self._now else None,
        )
