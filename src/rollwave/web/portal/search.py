"""Search: groups, servers, packages and releases by a part of their name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render

from rollwave.web.access import Permission, principal_of
from rollwave.web.api.search import looked_up
from rollwave.web.portal.page import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show what ``q`` is a part of."""
    q = request.GET.get("q", "").strip()[:100]
    found = looked_up(principal_of(request), q) if q else None
    return render(request, "portal/search.html", {"q": q, "found": found})
