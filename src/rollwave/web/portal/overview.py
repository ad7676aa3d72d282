"""What is moving, what waits for a person, what is braked, and what is out of traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.shortcuts import render

from rollwave.domain.model import Phase
from rollwave.domain.status import Status
from rollwave.web.access import Permission, may, may_somewhere, principal_of
from rollwave.web.api import deployments, groups
from rollwave.web.portal.page import page
from rollwave.web.portal.remembered import remembered
from rollwave.web.portal.tally import tallies

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from rollwave.web.access import Principal
    from rollwave.web.api.deployments import DeploymentBrief

WAITS: Final = frozenset({Status.PENDING.value, Status.WAITING.value})
STOPPED: Final = frozenset({Status.BRAKED.value, Status.FAILED.value})

_RECENT: Final = 8


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the overview."""
    shown = remembered(request, "overview", lambda: _read(request))
    principal = principal_of(request)
    may_release = may_somewhere(principal, Permission.OPERATE)
    environments = {one.name: one.environment for one in shown["groups"]}
    attention = [
        {**one, "decides": _decides(principal, one["release"], environments[one["release"].group])}
        for one in shown["attention"]
    ]
    return render(request, "portal/overview.html", {**shown, "attention": attention, "may_release": may_release})


def _decides(principal: Principal, release: DeploymentBrief, environment: str) -> bool:
    """Return whether *principal* may do something about a release that needs a person."""
    waits_for_approval = release.phase == Phase.PENDING.value and release.status == Status.WAITING.value
    permission = [Permission.OPERATE, *([Permission.APPROVE] if waits_for_approval else [])]
    return any(may(principal, one, app=release.app, environment=environment) for one in permission)


def _read(request: HttpRequest) -> dict[str, Any]:
    active = deployments.list_deployments(request, active=True, limit=1_000)
    counts = tallies([one.id for one in active])
    releases: list[dict[str, Any]] = [{"release": one, "counts": counts[one.id]} for one in active]
    fleet = groups.list_groups(request)
    attention = [one for one in releases if one["release"].status in WAITS | STOPPED]
    return {
        "attention": sorted(attention, key=lambda one: one["release"].status not in STOPPED),
        "moving": [one for one in releases if one not in attention],
        "waiting_count": sum(one["release"].status in WAITS for one in attention),
        "stopped_count": sum(one["release"].status in STOPPED for one in attention),
        "ended": deployments.list_deployments(request, active=False, limit=_RECENT),
        "groups": fleet,
        "instance_count": sum(one.instance_count for one in fleet),
        "in_traffic_count": sum(one.in_traffic_count for one in fleet),
        "out": [one for one in fleet if one.held_count or one.failed_count or one.offline_count],
    }
