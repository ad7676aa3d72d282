"""HTTP requests of notifications: to where the guard allows, once, with an end."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import httpx
from msgspec import Struct

from rollwave.ports.notifier import ChannelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollwave.notify.guard import Guard

TIMEOUT_S: Final = 10.0

MOST_READ: Final = 4096
"""Of an answer no more is read: nobody needs it."""


class Answer(Struct, frozen=True, kw_only=True):
    """What a receiver that took the message said."""

    status: int
    body: bytes


class Poster:
    """
    Sends requests.

    Args:
        guard: Says where to.
        verify: Checks certificates; None: against those of the system.
    """

    def __init__(self, guard: Guard, *, verify: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._verify = verify or ssl.create_default_context()

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """
        POST *content*; redirects are not followed, for they would lead around the guard.

        Raises:
            ChannelError: If the answer is anything but success, or there is none.
        """
        target = httpx.URL(url)
        address = await self._guard.address_of(target.host, target.port or (443 if target.scheme == "https" else 80))
        if target.scheme != "https" and not self._guard.is_named(target.host, address):
            raise ChannelError("http is readable on the way: use https, or name the host in [notify] allow")
        # To the address that was checked: asked again, the name may stand for another one.
        pinned = target.copy_with(host=address)
        sent = {"Host": target.netloc.decode(), "User-Agent": "Rollwave", "Accept": "*/*", **headers}
        extensions = {"sni_hostname": target.host} if target.scheme == "https" else {}
        try:
            # Not through a proxy of the environment: the guard would have checked the wrong address.
            async with (
                httpx.AsyncClient(verify=self._verify, timeout=TIMEOUT_S, trust_env=False) as client,
                client.stream("POST", pinned, content=content, headers=sent, extensions=extensions) as response,
            ):
                return Answer(status=_checked(response), body=await _start_of(response))
        except httpx.TimeoutException as error:
            raise ChannelError(f"no answer within {TIMEOUT_S:g} s") from error
        except httpx.HTTPError as error:
            raise ChannelError(f"no connection: {str(error) or type(error).__name__}") from error


def _checked(response: httpx.Response) -> int:
    if response.is_success:
        return response.status_code
    asked = response.headers.get("Retry-After", "")
    raise ChannelError(
        f"status {response.status_code}",
        retry_after_s=float(asked) if asked.isdecimal() else 0.0,
        is_gone=response.status_code == httpx.codes.GONE,
    )


async def _start_of(response: httpx.Response) -> bytes:
    body = b""
    async for part in response.aiter_bytes(MOST_READ):
        body += part
        if len(body) >= MOST_READ:
            break
    return body[:MOST_READ]
