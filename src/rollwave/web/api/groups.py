"""Groups: the instances of one app in one environment, with what they run and what takes part."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Body, Header, Router
from pydantic import Field

from rollwave.domain import errors
from rollwave.domain.model import Kind, PackageRef, Phase
from rollwave.domain.stability import stable_packages
from rollwave.store.models import FINAL_PHASES, Deployment, Group
from rollwave.web import commands, fleet
from rollwave.web.access import Permission, of_group, principal_of, within
from rollwave.web.api import instances
from rollwave.web.api.auth import actor_of, needs
from rollwave.web.api.deployments import DeploymentOut, detail
from rollwave.web.api.errors import answers
from rollwave.web.api.instances import InstanceOut
from rollwave.web.api.output import Output, found
from rollwave.web.fields import Input, Port, Version, as_json, merged
from rollwave.web.refusals import InvalidRequestError, MalformedRequestError, TooLargeError

router = Router(tags=["fleet"])


class GroupOut(Output):
    """A group in figures."""

    name: str
    app: str
    environment: str
    instance_count: int
    in_traffic_count: int
    held_count: int
    failed_count: int
    offline_count: int
    versions: dict[str, int] = Field(description="How many instances were last proven to run each version.")
    active_deployment: int | None = Field(description="Id of the deployment that is not over.")
    stable_version: str | None = Field(description="Version of the last deployment that ended in success.")
    previous_stable_version: str | None = Field(description="Where a rollback goes.")


class GroupDetail(GroupOut):
    """A group with its settings and instances."""

    deploy_path: str
    health_path: str
    version_path: str | None
    start: list[str]
    stop: list[str]
    command_timeout_s: int
    drain_timeout_s: int
    keep_versions: int
    executor: str
    balancer: str | None
    pool: str | None
    canaries: list[str]
    config: dict[str, Any] = Field(description="Settings of its next deployment, defaults included.")
    instances: list[InstanceOut]


class HoldIn(Input):
    """Which instance, where a server carries several of the group, and why."""

    reason: str = ""
    port: Port | None = None


class RollbackIn(Input):
    """Where to, and why."""

    version: Version | None = Field(default=None, description="null: the stable version before the one that runs.")
    reason: str = ""


_BODY = (MalformedRequestError, InvalidRequestError, TooLargeError)


@router.get("", auth=needs(Permission.VIEW), response=answers(ok=list[GroupOut]))
def list_groups(request: HttpRequest) -> list[GroupOut]:
    """List the groups."""
    seen = within(principal_of(request), Permission.VIEW, app="app__name", environment="environment")
    by_group: dict[str, list[InstanceOut]] = defaultdict(list)
    for instance in instances.everywhere():
        by_group[instance.group].append(instance)
    active = _active_by_group()
    stable = _stable_by_group(Deployment.objects.all())
    return [
        GroupOut(**_figures(row, by_group[row.name], active.get(row.pk), stable.get(row.pk, (None, None))))
        for row in Group.objects.filter(seen).select_related("app")
    ]


@router.get("/{name}", auth=needs(Permission.VIEW, of_group), response=answers(errors.NotFoundError, ok=GroupDetail))
def read_group(request: HttpRequest, name: str) -> GroupDetail:
    """Read one group with its settings and instances."""
    del request
    row = found(Group.objects.select_related("app").filter(name=name).first(), kind="group", name=name)
    of_group = instances.of_group(row.pk)
    stable = _stable_by_group(Deployment.objects.filter(group=row)).get(row.pk, (None, None))
    return GroupDetail(
        **_figures(row, of_group, _active_by_group().get(row.pk), stable),
        deploy_path=row.deploy_path,
        health_path=row.health_path,
        version_path=row.version_path or None,
        start=row.start,
        stop=row.stop,
        command_timeout_s=row.command_timeout_s,
        drain_timeout_s=row.drain_timeout_s,
        keep_versions=row.keep_versions,
        executor=row.executor,
        balancer=row.balancer or None,
        pool=row.pool or None,
        canaries=row.canaries,
        config=as_json(merged(row.config)),
        instances=of_group,
    )


_HELD = answers(errors.NotFoundError, errors.InvalidValueError, errors.StateConflictError, *_BODY, ok=InstanceOut)


@router.post("/{name}/instances/{server}/hold", auth=needs(Permission.OPERATE, of_group), response=_HELD)
def hold(
    request: HttpRequest, name: str, server: str, body: Annotated[HoldIn, Body(default_factory=HoldIn)]
) -> InstanceOut:
    """Take an instance out of traffic and out of every plan; the active deployment goes on without it."""
    return _set_hold(request, name, server, body, hold=True)


@router.post("/{name}/instances/{server}/unhold", auth=needs(Permission.OPERATE, of_group), response=_HELD)
def unhold(
    request: HttpRequest, name: str, server: str, body: Annotated[HoldIn, Body(default_factory=HoldIn)]
) -> InstanceOut:
    """Clear a hold; the instance goes back into traffic unless something else keeps it out."""
    return _set_hold(request, name, server, body, hold=False)


@router.post(
    "/{name}/rollback",
    auth=needs(Permission.OPERATE, of_group),
    response=answers(
        errors.NotFoundError,
        errors.NoStablePackageError,
        errors.NeverReleasedError,
        errors.ActionNotAllowedError,
        errors.IdempotencyConflictError,
        *_BODY,
        ok=DeploymentOut,
    ),
    tags=["releases"],
)
def roll_back(
    request: HttpRequest,
    name: str,
    body: Annotated[RollbackIn, Body(default_factory=RollbackIn)],
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=180)] = None,
) -> DeploymentOut:
    """
    Bring a group back to a package that was good.

    Where a deployment is active, it is given up and the rollback follows as soon as nothing is in flight: the answer is
    the deployment that ends, and its ``followed_by`` will name the rollback. Otherwise the answer is the rollback.
    """
    actor = actor_of(request)
    key = commands.command_key(idempotency_key, request, body)
    return detail(commands.roll_back_group(name, version=body.version, actor=actor, reason=body.reason, command=key))


def _set_hold(request: HttpRequest, group: str, server: str, body: HoldIn, *, hold: bool) -> InstanceOut:
    instance_id = fleet.set_hold(group, server, port=body.port, hold=hold, actor=actor_of(request), reason=body.reason)
    return instances.one(instance_id)


def _figures(
    row: Group,
    members: Sequence[InstanceOut],
    active: int | None,
    stable: tuple[PackageRef | None, PackageRef | None],
) -> dict[str, Any]:
    current, before = stable
    return {
        "name": row.name,
        "app": row.app.name,
        "environment": row.environment,
        "instance_count": len(members),
        "in_traffic_count": sum(one.in_traffic for one in members),
        "held_count": sum(one.hold for one in members),
        "failed_count": sum(one.failed for one in members),
        "offline_count": sum(one.offline for one in members),
        "versions": Counter(one.version for one in members if one.version),
        "active_deployment": active,
        "stable_version": current.version if current else None,
        "previous_stable_version": before.version if before else None,
    }


def _active_by_group() -> dict[int, int]:
    return dict(Deployment.objects.exclude(phase__in=FINAL_PHASES).order_by().values_list("group_id", "id"))


def _stable_by_group(deployments: Any) -> dict[int, tuple[PackageRef | None, PackageRef | None]]:
    """Return the stable package of each group and the one before it; one query."""
    ended = defaultdict(list)
    rows = deployments.filter(phase=Phase.SUCCESS.value).order_by("id")
    for group_id, kind, goal_id, version in rows.values_list("group_id", "kind", "goal_id", "goal__version"):
        ended[group_id].append((Kind(kind), PackageRef(id=goal_id, version=version), Phase.SUCCESS))
    return {group_id: stable_packages(history) for group_id, history in ended.items()}
