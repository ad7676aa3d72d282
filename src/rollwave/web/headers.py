"""
What every answer tells the browser not to do.

Middleware of our own, for it is one constant: no page has a script or a style sheet inside, so there is no nonce and
nothing that a page could want to differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils.decorators import async_only_middleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

POLICY: Final = "; ".join(  # noqa: FLY002  # one directive a line
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@async_only_middleware
def headers(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """Middleware: adds them, and lets no cache keep what somebody had to sign in for."""

    async def answer(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if hasattr(request, "principal"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return answer
