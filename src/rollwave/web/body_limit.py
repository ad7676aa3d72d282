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

DISCARD_LIMIT: Final = 64 * 1024**2
"""Most bytes that are read from a client only to let it finish."""

PACKAGES: Final = ("/api/v1/packages/", "/packages/new")


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
        body = _Body(receive, limit=limit)
        if _announced(scope) > limit:
            await self._answer(body, send, TooLargeError(limit=limit))
            return
        try:
            await self._app(scope, body.receive, send)
        except TooLargeError as error:
            # The body is read before the app answers anything, so nothing was sent yet.
            await self._answer(body, send, error)

    async def _answer(self, body: _Body, send: Send, error: TooLargeError) -> None:
        await body.discard()
        status, content = self._refuse(error)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            # What may be left of the body would be taken for the next request.
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class _Body:
    """A body on its way in."""

    def __init__(self, receive: Receive, *, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._size = 0
        self._is_complete = False

    async def receive(self) -> Message:
        """Return the next message; raise TooLargeError where it is one too much."""
        message = await self._next()
        if self._size > self._limit:
            raise TooLargeError(limit=self._limit)
        return message

    async def discard(self) -> None:
        """Read what is still coming, within bounds: a client that is cut off while it sends never sees the answer."""
        while not self._is_complete and self._size < self._limit + DISCARD_LIMIT:
            await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        return message


def _announced(scope: Message) -> int:
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else 0
