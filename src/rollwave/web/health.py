"""Health of the web process itself, for whoever supervises it; no token is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse

from rollwave.supervision import readiness
from rollwave.web.context import services
from rollwave.web.json_text import encode

if TYPE_CHECKING:
    from django.http import HttpRequest


def live(request: HttpRequest) -> HttpResponse:
    """Answer that the process is alive: its event loop turns. A process that does not answer is to be restarted."""
    del request
    return _answer({"live": True}, status=200)


def ready(request: HttpRequest) -> HttpResponse:
    """Answer whether commands would be done here. A process that says no is to be given no requests, and left alone."""
    del request
    seen = readiness(services())
    return _answer(seen.to_json(), status=200 if seen.is_ready else 503)


def _answer(content: object, *, status: int) -> HttpResponse:
    return HttpResponse(encode(content), status=status, content_type="application/json")
