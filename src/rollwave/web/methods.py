"""The right answer to a wrong method, in the form of every other error."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from django.utils.decorators import async_only_middleware

from rollwave.web.api.errors import error_response
from rollwave.web.refusals import WrongMethodError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponse


@async_only_middleware
def wrong_methods(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponse]],
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Middleware: ninja answers a wrong method in plain text, before any of our handlers."""

    async def answer(request: HttpRequest) -> HttpResponse:
        response = await get_response(request)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        allowed = response["Allow"]
        told = error_response(WrongMethodError(method=str(request.method), allowed=allowed.split(", ")))
        told["Allow"] = allowed
        return told

    return answer
