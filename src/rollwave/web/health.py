"""Health of the web process itself, for whoever supervises it; no token is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import DatabaseError, connection
from django.http import HttpResponse

from rollwave.web.context import services
from rollwave.web.json_text import encode

if TYPE_CHECKING:
    from django.http import HttpRequest


def live(request: HttpRequest) -> HttpResponse:
    """Answer that the process runs."""
    del request
    return _answer({"live": True}, status=200)


def ready(request: HttpRequest) -> HttpResponse:
    """Answer whether commands would be done: the database answers, and the engine runs."""
    del request
    checks = {"database": _database(), "engine": "ok" if services().is_engine_running else "not running"}
    is_ready = set(checks.values()) == {"ok"}
    return _answer({"ready": is_ready, "checks": checks}, status=200 if is_ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return str(error)
    return "ok"


def _answer(content: object, *, status: int) -> HttpResponse:
    return HttpResponse(encode(content), status=status, content_type="application/json")
