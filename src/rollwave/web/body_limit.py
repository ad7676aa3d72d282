"""The limit on request bodies, kept before a byte too much is written anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rollwave.web.refusals import TooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Any, Any, Any], Awaitable[None]]

JSON_LIMIT: Final = 32 * 1024**2
"""Bytes of any body but a package: a spec of some hundred thousand instances."""

PACKAGES: Final = "/api/v1/packages/"


class BodyLimit:
    """
    ASGI middleware: answers 413 where a body is too large, whether or not its length was announced.

    Args:
        app: What is guarded.
        package_limit: Most bytes of a package.
        refuse: Makes the answer: status, headers and body.
    """

    def __init__(self, app: App, *, package_limit: int, refuse: Callable[[TooLargeError], tuple[int, bytes]]) -> None:
        self._app = app
        self._package_limit = package_limit
        self._refuse = refuse

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        limit = self._package_limit if scope["path"].startswith(PACKAGES) else JSON_LIMIT
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise TooLargeError(limit=limit)
            return message

        if _announced(scope) > limit:
            await self._answer(send, TooLargeError(limit=limit))
            return
        try:
            await self._app(scope, counted, send)
        except TooLargeError as error:
            # The body is read before the app answers anything, so nothing was sent yet.
            await self._answer(send, error)

    async def _answer(self, send: Send, error: TooLargeError) -> None:
        status, content = self._refuse(error)
        # What is left of the body would be taken for the next request.
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _announced(scope: Message) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0
