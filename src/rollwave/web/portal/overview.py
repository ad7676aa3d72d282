"""What is moving, what waits for a person, what is braked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def show(request: HttpRequest) -> HttpResponse:
    """Show the overview."""
    return render(request, "portal/overview.html")
