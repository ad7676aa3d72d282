"""The metrics of a process that serves the API, at its own address; a token is needed, as for everything it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse

from rollwave.telemetry.prometheus import CONTENT_TYPE
from rollwave.web.access import Permission
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import error_response, translated
from rollwave.web.context import services
from rollwave.web.refusals import UnauthorizedError

if TYPE_CHECKING:
    from django.http import HttpRequest

_ADMITTED = needs(Permission.VIEW)


def show(request: HttpRequest) -> HttpResponse:
    """Answer with every metric. Without a database nobody can be admitted: `[metrics] port` answers even then."""
    try:
        holder = next(filter(None, (admit(request) for admit in _ADMITTED)), None)
    except Exception as error:  # noqa: BLE001  # told in the form of every other error, and logged there
        return error_response(translated(error, request))
    if holder is None:
        given = request.headers.get("Authorization")
        return error_response(UnauthorizedError(reason="the token is not valid" if given else "there is no token"))
    answer = HttpResponse(services().metrics.page(), content_type=CONTENT_TYPE)
    answer["Cache-Control"] = "no-store"
    return answer
