"""The HTTP client: one place for the token, timeouts, safe repeats and the form of an error."""

from __future__ import annotations

import ssl
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx

from rollwave.cli.errors import BUSY, ApiError, NotRollwaveError, ReplyLostError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from rollwave.cli.connection import Connection

TIMEOUT: Final = httpx.Timeout(30, connect=5)
UPLOAD_TIMEOUT: Final = httpx.Timeout(300, connect=5)
"""Seconds without any progress, not in all: a large package may take as long as it takes."""

STREAM_TIMEOUT: Final = httpx.Timeout(45, connect=5)
"""Three heartbeats of the server."""

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LOST_BEHIND: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
"""What a proxy says that has sent it on, and got no answer."""

_PAUSES_S: Final = (0.2, 0.6, 1.5)
"""Before the second and later tries of a request that may be repeated."""


class Client:
    """
    Speaks to one API.

    Reads are repeated on connection errors. So are writes: of a release each carries an idempotency key, and the server
    does a repeated command once; most others bring about the same, however often they are done. Those whose answer is
    shown once are not repeated: who asks says what to do where it is lost.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        patience_s: float | None = None,
    ) -> None:
        """
        Prepare; nothing is sent yet.

        Args:
            connection: Where the API is, and who we are to it.
            transport: Carries requests instead of the network.
            sleep: Waits before a repeat.
            patience_s: For who cannot wait: give up after so long, and repeat nothing.
        """
        self.endpoint = connection.endpoint
        self.has_token = connection.token is not None
        headers = {"User-Agent": "rollwave-cli", "Accept": "application/json"}
        if connection.token is not None:
            headers["Authorization"] = f"Bearer {connection.token}"
        # Reading every certificate authority takes longer than a request; plain HTTP has no use for them.
        is_plain = connection.endpoint.startswith("http:")
        self._http = httpx.Client(
            base_url=f"{connection.endpoint}/api/v1/",
            headers=headers,
            timeout=TIMEOUT if patience_s is None else patience_s,
            transport=transport,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain else True,
        )
        self._sleep = sleep
        self._pauses_s = _PAUSES_S if patience_s is None else ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, *path: str | int, **query: object) -> Any:
        """
        Return the JSON document at *path*, whose parts are quoted; None in *query* is left out.

        Raises:
            ApiError: If the API refuses.
            UnreachableError: If nobody answers.
            NotRollwaveError: If the answer is not the API's.
        """
        return self._json("GET", path, params=_query(query))

    def send(self, method: str, *path: str | int, key: str, body: object = None, once: str | None = None) -> Any:
        """
        Do a write and return its JSON answer, None where it has none.

        Args:
            method: HTTP method.
            path: Parts of the path.
            key: Idempotency key: makes repeats safe.
            body: JSON to send, None for none.
            once: For a write that must not be sent again: what to do where its answer is lost.

        Raises:
            ApiError, UnreachableError, NotRollwaveError: See `get`.
            ReplyLostError: If *once* is given, and it may have been done.
        """
        return self._json(method, path, once=once, headers={"Idempotency-Key": key}, json=body)

    def upload(
        self, *path: str | int, key: str, chunks: Callable[[], Iterable[bytes]], size: int, headers: Mapping[str, str]
    ) -> Any:
        """
        PUT bytes and return the JSON answer.

        Args:
            path: Parts of the path.
            key: Idempotency key.
            chunks: Gives the content from its beginning; called once per try.
            size: Bytes in all.
            headers: Sent along.

        Raises:
            ApiError, UnreachableError, NotRollwaveError: See `get`.
        """
        sent = {
            **headers,
            "Idempotency-Key": key,
            "Content-Length": str(size),
            "Content-Type": "application/octet-stream",
        }
        return self._json("PUT", path, headers=sent, content_of=chunks, timeout=UPLOAD_TIMEOUT)

    def stream(
        self, *path: str | int, headers: Mapping[str, str], **query: object
    ) -> AbstractContextManager[httpx.Response]:
        """Open a stream; the caller reads it, and opens it again when it breaks."""
        return self._http.stream(
            "GET", _path(path), params=_query(query), headers=dict(headers), timeout=STREAM_TIMEOUT
        )

    def check(self, response: httpx.Response) -> None:
        """
        Return if *response* is a success of the API.

        Raises:
            ApiError, NotRollwaveError: If it is not.
        """
        if not response.is_success:
            response.read()
            raise self._error(response)

    def _json(
        self,
        method: str,
        path: tuple[str | int, ...],
        *,
        content_of: Callable[[], Iterable[bytes]] | None = None,
        once: str | None = None,
        **request: Any,
    ) -> Any:
        response = self._answer(method, path, content_of, once, request)
        self.check(response)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            kind = response.headers.get("Content-Type", "no type")
            raise NotRollwaveError(
                endpoint=self.endpoint, status=response.status_code, reason=f"{kind} instead of JSON"
            ) from error

    def _answer(
        self,
        method: str,
        path: tuple[str | int, ...],
        content_of: Callable[[], Iterable[bytes]] | None,
        once: str | None,
        request: dict[str, Any],
    ) -> httpx.Response:
        was_lost = False
        for pause_s in self._pauses():
            if content_of is not None:
                request = {**request, "content": content_of()}
            try:
                response = self._http.request(method, _path(path), **request)
            except httpx.TransportError as error:
                was_sent = not isinstance(error, _NEVER_SENT)
                if once is not None and was_sent:
                    raise ReplyLostError(endpoint=self.endpoint, reason=_reason(error), hint=once) from error
                if pause_s is None:
                    raise UnreachableError(endpoint=self.endpoint, reason=_reason(error)) from error
                was_lost = was_lost or was_sent
            else:
                if once is not None and response.status_code in _LOST_BEHIND:
                    raise ReplyLostError(endpoint=self.endpoint, reason=f"HTTP {response.status_code}", hint=once)
                if method == "DELETE" and was_lost and response.status_code == HTTPStatus.NOT_FOUND:
                    # What we asked for before the answer was lost has been done.
                    return httpx.Response(HTTPStatus.NO_CONTENT)
                if pause_s is None or response.status_code not in BUSY:
                    return response
                was_lost = was_lost or response.status_code in _LOST_BEHIND
            self._sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _pauses(self) -> Iterator[float | None]:
        yield from self._pauses_s
        yield None

    def _error(self, response: httpx.Response) -> ApiError | NotRollwaveError:
        try:
            error = response.json()["error"]
            return ApiError(
                code=str(error["code"]),
                message=str(error["message"]),
                status=response.status_code,
                field=str(error.get("field") or ""),
                facts=dict(error.get("facts") or {}),
            )
        except (ValueError, KeyError, TypeError):
            return NotRollwaveError(
                endpoint=self.endpoint, status=response.status_code, reason=f"HTTP {response.status_code}"
            )


def _path(parts: tuple[str | int, ...]) -> str:
    return "/".join(quote(str(part), safe="") for part in parts)


def _query(query: dict[str, object]) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it takes too long"
    cause = error.__cause__ or error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]  # not None: checked above
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there"
    return str(cause) or type(cause).__name__
