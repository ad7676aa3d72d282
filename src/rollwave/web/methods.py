"""The right answer to a wrong method, in the form of every other error."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from rollwave.web.api.errors import error_response
from rollwave.web.refusals import WrongMethodError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponse


class WrongMethods:
    """Middleware: ninja answers a wrong method in plain text, before any of our handlers."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer *request*."""
        response = await self._get_response(request)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        allowed = response["Allow"]
        told = error_response(WrongMethodError(method=str(request.method), allowed=allowed.split(", ")))
        told["Allow"] = allowed
        return told
