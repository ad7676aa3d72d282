"""Packages: where each came from, who signed it, and where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.core.paginator import Paginator
from django.db.models import Count
from django.shortcuts import render

from rollwave.store.models import Instance
from rollwave.web.access import Permission, may_somewhere, of_app, principal_of, within
from rollwave.web.api import apps, deployments, packages
from rollwave.web.portal.page import MOST_ROWS, number_asked, page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

_RECENT: Final = 20


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the packages of all apps, or of one, the newest first."""
    app = request.GET.get("app") or None
    shown = Paginator(packages.seen(request, app=app), MOST_ROWS).get_page(number_asked(request, "page"))
    running = _running(request)
    return render(
        request,
        "portal/packages.html",
        {
            "packages": shown,
            "rows": [
                {"package": packages.shown(one), "running": running.get((one.app.name, one.version), 0)}
                for one in shown
            ],
            "app": app or "",
            "may_push": may_somewhere(principal_of(request), Permission.OPERATE),
            "apps": [one.name for one in apps.list_apps(request)],
        },
    )


@page(Permission.VIEW, of_app)
def show_one(request: HttpRequest, app: str, version: str) -> HttpResponse:
    """Show one package."""
    package = packages.read_package(request, app, version)
    seen = within(principal_of(request), Permission.VIEW, app="group__app__name", environment="group__environment")
    there = Instance.objects.filter(seen, group__app__name=app, version=version).order_by()
    return render(
        request,
        "portal/package.html",
        {
            "package": package,
            "places": there.values("group__name").annotate(count=Count("id")).order_by("group__name"),
            "releases": deployments.list_deployments(request, app=app, version=version, limit=_RECENT),
            "may_release": may_somewhere(principal_of(request), Permission.OPERATE),
        },
    )


def _running(request: HttpRequest) -> dict[tuple[str, str], int]:
    """Return how many instances run each version of each app."""
    seen = within(principal_of(request), Permission.VIEW, app="group__app__name", environment="group__environment")
    rows = Instance.objects.filter(seen, version__isnull=False).order_by().values("group__app__name", "version")
    return {(row["group__app__name"], row["version"]): row["count"] for row in rows.annotate(count=Count("id"))}
