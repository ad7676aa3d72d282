"""Addresses of the web process."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from django.urls import include, path

from rollwave.web import health, metrics
from rollwave.web.api import make_api
from rollwave.web.api.errors import error_response
from rollwave.web.portal.page import trouble
from rollwave.web.refusals import InternalError, MalformedRequestError, UnknownRouteError

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

api = make_api()

urlpatterns = [
    path("health/live", health.live),
    path("health/ready", health.ready),
    # The same by the names that the metrics port has.
    path("livez", health.live),
    path("readyz", health.ready),
    path("metrics", metrics.show),
    path("api/v1/", api.urls),
    path("", include("rollwave.web.people.urls")),
    path("", include("rollwave.web.portal.urls")),
]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer for an address that there is not."""
    if _is_page(request):
        # A page says what was not there; Django itself only which patterns it tried.
        told = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
        return trouble(request, HTTPStatus.NOT_FOUND, what=told)
    return error_response(UnknownRouteError(path=request.path))


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer whoever may not."""
    return trouble(request, HTTPStatus.FORBIDDEN, what=str(exception))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django itself does not take."""
    del request
    return error_response(MalformedRequestError(reason=str(exception)))


def handler500(request: HttpRequest) -> HttpResponse:
    """Answer for a mistake outside of the API; Django has logged it."""
    return trouble(request, HTTPStatus.INTERNAL_SERVER_ERROR) if _is_page(request) else error_response(InternalError())


def _is_page(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/api/")
