"""One line in the log for every request that may have changed something: who asked for what, and how that ended."""

from __future__ import annotations

import re
import secrets
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from django.utils.decorators import async_only_middleware
from structlog.contextvars import bind_contextvars, clear_contextvars

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponse

log = structlog.get_logger()

HEADER: Final = "X-Request-Id"
"""Names a request to all who pass it on; a client or a proxy may choose it, else it is made here."""

_ACCEPTABLE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_DEPLOYMENT: Final = re.compile(r"/deployments/([0-9]{1,18})(?:/|$)")
"""How a path, of the API or of the portal, names the deployment that it is about."""

_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@async_only_middleware
def request_lines(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Middleware: every line that a request causes carries its id, and so does the answer."""

    async def answer(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else secrets.token_hex(8)
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        about = _DEPLOYMENT.search(request.path)
        if about:
            bind_contextvars(deployment=int(about.group(1)))
        request.request_id = request_id  # type: ignore[attr-defined]  # ours
        began = monotonic()
        response = await get_response(request)
        response[HEADER] = request_id
        if request.method not in _HARMLESS:
            log.info(
                "request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                actor=getattr(getattr(request, "principal", None), "name", None),
                seconds=round(monotonic() - began, 4),
            )
        return response

    return answer
