"""Apps, groups and servers: what runs where, what is out of traffic, and who took it out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from rollwave.domain.errors import RollwaveError
from rollwave.store.models import Server
from rollwave.web import fleet
from rollwave.web.access import Permission, may, of_app, of_group, of_server, principal_of
from rollwave.web.access import check as check_access
from rollwave.web.api import apps, deployments, groups, packages, servers
from rollwave.web.portal.page import MOST_ROWS, attempt, back, number_asked, page
from rollwave.web.portal.remembered import remembered
from rollwave.web.portal.tally import tallies
from rollwave.web.told import told
from rollwave.web.typed import number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest, HttpResponse

    from rollwave.web.api.groups import GroupOut
    from rollwave.web.api.instances import InstanceOut

_RECENT: Final = 6

OUT: Final = ("hold", "failed", "offline", "new", "deploying")
"""Reasons that instances can be filtered by."""


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show all groups, app by app."""
    return render(request, "portal/fleet.html", remembered(request, "fleet", lambda: _apps(request)))


def _apps(request: HttpRequest) -> dict[str, Any]:
    described = {one.name: one.description for one in apps.list_apps(request)}
    by_app: dict[str, list[GroupOut]] = {name: [] for name in described}
    for group in groups.list_groups(request):
        by_app.setdefault(group.app, []).append(group)
    listed = [
        {"name": name, "description": described.get(name, ""), "groups": [_figures(one) for one in of_app]}
        for name, of_app in by_app.items()
    ]
    return {"apps": listed}


@page(Permission.VIEW, of_app)
def show_app(request: HttpRequest, name: str) -> HttpResponse:
    """Show one app: its groups and its packages."""
    app = apps.read_app(request, name)
    of_the_app = [_figures(one) for one in groups.list_groups(request) if one.app == name]
    pushed = [packages.shown(one) for one in packages.seen(request, app=name)[:_RECENT]]
    return render(request, "portal/app.html", {"app": app, "groups": of_the_app, "packages": pushed})


@page(Permission.VIEW, of_group)
def show_group(request: HttpRequest, name: str) -> HttpResponse:
    """Show one group: its versions, its instances with their flags, its settings, its releases."""
    group = groups.read_group(request, name)
    wanted = request.GET.get("state", "")
    shown = [one for one in group.instances if _is_wanted(one, wanted, request.GET.get("q", ""))]
    recent = deployments.list_deployments(request, group=name, limit=_RECENT)
    counts = tallies([one.id for one in recent])
    instances = Paginator(shown, MOST_ROWS).get_page(number_asked(request, "page"))
    context = {
        "group": group,
        "figures": _figures(group),
        "instances": instances,
        "state": wanted,
        "q": request.GET.get("q", ""),
        "states": _states(group.instances),
        "sites": Counter(one.site for one in group.instances).most_common(),
        "releases": [{"release": one, "counts": counts[one.id]} for one in recent],
        "active": next((one for one in recent if one.id == group.active_deployment), None),
        "may_operate": _may_operate(request, group.app, group.environment),
    }
    return render(request, "portal/group.html", context)


@page(Permission.VIEW)
def show_servers(request: HttpRequest) -> HttpResponse:
    """Show the servers, by name, address or site."""
    q, state = request.GET.get("q", "").strip(), request.GET.get("state", "")
    rows = Server.objects.annotate(instance_count=Count("instances")).order_by("name")
    if q:
        rows = rows.filter(Q(name__icontains=q) | Q(address__icontains=q) | Q(site__icontains=q))
    if state == "offline":
        rows = rows.filter(offline=True)
    shown = Paginator(rows, MOST_ROWS).get_page(number_asked(request, "page"))
    offline = Server.objects.filter(offline=True).count()
    context = {"servers": shown, "q": q, "state": state, "offline_count": offline}
    return render(request, "portal/servers.html", context)


@page(Permission.VIEW)
def show_server(request: HttpRequest, name: str) -> HttpResponse:
    """Show one server with what runs on it."""
    server = servers.read_server(request, name)
    may_operate = _may_at(request, Permission.OPERATE, name)
    context = {"server": server, "may_operate": may_operate}
    return render(request, "portal/server.html", context)


@page(Permission.OPERATE, of_server)
def check_server(request: HttpRequest, name: str) -> HttpResponse:
    """Look whether a server can be released to; a part of its page."""
    try:
        found, problem = servers.check_server(request, name), ""
    except RollwaveError as error:
        found, problem = [], told(error)
    return render(request, "portal/server_check.html", {"checks": found, "problem": problem})


@require_POST
@page(Permission.OPERATE, of_group)
def hold(request: HttpRequest, name: str) -> HttpResponse:
    """Hold an instance, or lift its hold."""
    server, port = request.POST.get("server", ""), request.POST.get("port", "")
    holds = request.POST.get("hold") == "true"
    place = f"{name}/{server}:{port}"
    attempt(
        request,
        lambda: fleet.set_hold(
            name,
            server,
            port=number(port),
            hold=holds,
            actor=principal_of(request).name,
            reason=request.POST.get("reason", "").strip(),
        ),
        done=(_("%(instance)s is held") if holds else _("The hold of %(instance)s is lifted")) % {"instance": place},
    )
    return back(request, reverse("portal:group", args=[name]))


@require_POST
@page(Permission.OPERATE, of_server)
def switch(request: HttpRequest, name: str) -> HttpResponse:
    """Say that a server is offline, or online again."""
    offline = request.POST.get("offline") == "true"
    reason = request.POST.get("reason", "").strip()
    done = _("%(server)s is offline") if offline else _("%(server)s is online again")
    attempt(
        request,
        lambda: fleet.set_offline(name, offline=offline, actor=principal_of(request).name, reason=reason),
        done=done % {"server": name},
    )
    return back(request, reverse("portal:server", args=[name]))


def _figures(group: GroupOut) -> dict[str, Any]:
    """Return a group with its versions in order, the most common first, and their shares in percent."""
    unknown = group.instance_count - sum(group.versions.values())
    versions = sorted(group.versions.items(), key=lambda one: -one[1])
    return {
        "group": group,
        "versions": [
            {
                "version": version,
                "count": count,
                "share": round(100 * count / group.instance_count, 2),
                "stable": version == group.stable_version,
            }
            for version, count in versions
        ],
        "unknown": unknown,
        "out_count": group.instance_count - group.in_traffic_count,
    }


def _states(instances: Iterable[InstanceOut]) -> list[tuple[str, int]]:
    counts = Counter(reason for one in instances for reason in one.out_reasons)
    return [(reason, counts[reason]) for reason in OUT if counts[reason]]


def _is_wanted(instance: InstanceOut, state: str, q: str) -> bool:
    if state == "in" and not instance.in_traffic:
        return False
    if state in OUT and state not in instance.out_reasons:
        return False
    return not q or any(q.lower() in text.lower() for text in (instance.name, instance.site, instance.version or ""))


def _may_operate(request: HttpRequest, app: str, environment: str) -> bool:
    return may(principal_of(request), Permission.OPERATE, app=app, environment=environment)


def _may_at(request: HttpRequest, permission: Permission, server: str) -> bool:
    try:
        check_access(principal_of(request), permission, of_server(name=server))
    except RollwaveError:
        return False
    return True
