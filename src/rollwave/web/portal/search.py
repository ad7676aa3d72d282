"""Search: groups, servers, packages and releases by a part of their name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.shortcuts import render

from rollwave.store.models import Deployment, Group, Package, Server
from rollwave.web.access import Permission, principal_of, within
from rollwave.web.portal.page import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_MOST: Final = 12


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show what ``q`` is a part of."""
    q = request.GET.get("q", "").strip()[:100]
    return render(request, "portal/search.html", {"q": q, "found": _found(request, q.lstrip("#")) if q else None})


def _found(request: HttpRequest, q: str) -> dict[str, list[Any]]:
    principal = principal_of(request)
    of_group = within(principal, Permission.VIEW, app="app__name", environment="environment")
    of_release = within(principal, Permission.VIEW, app="group__app__name", environment="group__environment")
    of_package = within(principal, Permission.VIEW, app="app__name")
    releases = Deployment.objects.filter(of_release).select_related("group", "goal")
    by_number = releases.filter(id=int(q)) if q.isdecimal() and len(q) < 19 else releases.none()
    return {
        "releases": list(by_number),
        "groups": list(Group.objects.filter(of_group, name__icontains=q).select_related("app")[:_MOST]),
        "servers": list(Server.objects.filter(name__icontains=q)[:_MOST]),
        "packages": list(Package.objects.filter(of_package, version__icontains=q).select_related("app")[:_MOST]),
    }
