"""What the installation is set to: ``rollwave.toml`` and the environment, read-only, with secrets left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render

from rollwave.web.access import Permission, everywhere
from rollwave.web.api import settings as settings_api
from rollwave.web.portal.page import page

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@page(Permission.MANAGE, everywhere)
def show(request: HttpRequest) -> HttpResponse:
    """Show the settings, table by table."""
    return render(request, "portal/settings.html", {"settings": settings_api.read_settings(request)})
