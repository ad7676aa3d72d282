"""
A balancer of the user's own, behind an HTTP endpoint that knows two calls; ``docs/balancers.md`` describes them.

Every call is one POST whose whole content is signed, as Standard Webhooks does it: HMAC-SHA256 over id, time and body.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from rollwave.balancers.drain import wait_until
from rollwave.balancers.shared_read import SharedRead
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what a secret begins with, as Standard Webhooks has it
MIN_SECRET_BYTES: Final = 24

MAX_CALLS: Final = 20
"""Calls under way at a time: the others wait, and their time runs."""

_NOT_NOW: Final = frozenset({408, 409, 410, 425, 429})
"""Refusals that say nothing about the pool; of these, 410 says that the call came too late."""


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One member as the endpoint lists it."""

    address: str
    port: int
    in_traffic: bool
    requests: int

    @property
    def traffic(self) -> Traffic:
        if self.in_traffic:
            return Traffic.IN
        return Traffic.DRAINING if self.requests else Traffic.OUT


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    members: tuple[_Listed, ...]


def read_secret(text: str) -> bytes:
    """
    Return the key in ``whsec_<base64>``.

    Raises:
        ValueError: If it is not written like that, or is short enough to be guessed.
    """
    try:
        key = base64.b64decode(text.strip().removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a secret is expected as {SECRET_PREFIX} and base64 ({error})") from error
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret of at least {MIN_SECRET_BYTES} bytes is expected, and this has {len(key)}")
    return key


def signature(key: bytes, *, identity: str, timestamp: int, body: bytes) -> str:
    """Return what ``webhook-signature`` has to say."""
    digest = hmac.digest(key, f"{identity}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


class HttpBalancer:
    """
    Asks an endpoint to put members in and out of traffic.

    Args:
        url: The endpoint.
        key: Signs the calls; see `read_secret`.
        clock: Waiting and time.
        make_id: Returns a new identity for a call; its repetitions keep it.
        timeout_s: Most time for a call, all of its attempts included, in seconds: later it is refused by the endpoint.
        attempt_timeout_s: Most time for one attempt, in seconds.
        up_timeout_s: Most time until the endpoint lists a member as in traffic that was put in, in seconds.
        poll_s: How often the endpoint is asked while something is awaited, in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        key: bytes,
        clock: Clock,
        make_id: Callable[[], str],
        timeout_s: float = 2.5,
        attempt_timeout_s: float = 1.2,
        up_timeout_s: float = 30.0,
        poll_s: float = 0.2,
    ) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._make_id = make_id
        self._timeout_s = timeout_s
        self._up_timeout_s = up_timeout_s
        self._poll_s = poll_s
        self._http = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=MAX_CALLS),
            timeout=httpx.Timeout(attempt_timeout_s, pool=None),
            trust_env=False,
        )
        self._lists: dict[str, SharedRead[tuple[_Listed, ...]]] = {}

    async def aclose(self) -> None:
        """Close the connections to the endpoint."""
        await self._http.aclose()

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Put *member* out, then wait until the endpoint counts no request to it."""
        await self._put(member, in_traffic=False)

        async def is_drained() -> bool:
            return await self._traffic(member) is Traffic.OUT

        return await wait_until(is_drained, clock=self._clock, timeout_s=drain_timeout_s, poll_s=self._poll_s)

    async def mark_up(self, member: Member) -> None:
        """Put *member* in; returns once the endpoint lists it so."""
        await self._put(member, in_traffic=True)

        async def is_up() -> bool:
            return await self._traffic(member) is Traffic.IN

        if not await wait_until(is_up, clock=self._clock, timeout_s=self._up_timeout_s, poll_s=self._poll_s):
            raise BalancerUnknownError(
                f"{self._url} was told to put {member.name} into traffic and lists it as out after "
                f"{self._up_timeout_s:g} s",
                member=member.name,
            )

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Return what the endpoint lists."""
        if not members:
            return {}
        listed = await self._list(members[0].pool)
        return {member.name: self._find(member, listed).traffic for member in members}

    async def _traffic(self, member: Member) -> Traffic:
        return self._find(member, await self._list(member.pool)).traffic

    def _find(self, member: Member, listed: Sequence[_Listed]) -> _Listed:
        found = [one for one in listed if (one.address, one.port) == (member.address, member.port)]
        if len(found) != 1:
            # Silence about a member is no proof that it gets no requests.
            raise BalancerPoolError(
                f"{self._url} lists {len(found)} members {member.address}:{member.port} in pool {member.pool!r}; it "
                f"must list exactly one for {member.name}, in traffic or not",
                pool=member.pool,
                member=member.name,
            )
        return found[0]

    async def _list(self, pool: str) -> tuple[_Listed, ...]:
        if pool not in self._lists:

            async def read() -> tuple[_Listed, ...]:
                return await self._call({"call": "list", "pool": pool})

            self._lists[pool] = SharedRead(read)
        return await self._lists[pool].get()

    async def _put(self, member: Member, *, in_traffic: bool) -> None:
        named = {"name": member.name, "address": member.address, "port": member.port}
        await self._call({"call": "put", "pool": member.pool, "member": named, "in_traffic": in_traffic})

    async def _call(self, content: Mapping[str, Any]) -> tuple[_Listed, ...]:
        """Make one call, which both sides may see more than once."""
        until = self._clock.now() + timedelta(seconds=self._timeout_s)
        body = msgspec.json.encode({**content, "until": round(until.timestamp(), 3)})
        identity, wait_s = self._make_id(), 0.1
        while True:
            try:
                async with asyncio.timeout((until - self._clock.now()).total_seconds()):
                    answer = await self._send(body, identity)
                what = f"status {answer.status_code} {answer.text.strip()[:500]}"
            except httpx.TransportError as error:
                answer, what = None, f"{type(error).__name__} {error}"
            except TimeoutError:
                answer, what = None, f"no answer within {self._timeout_s:g} s"
            if answer is not None and answer.is_success:
                return self._parse(answer)
            if answer is not None and answer.is_client_error and answer.status_code not in _NOT_NOW:
                raise BalancerPoolError(
                    f"{self._url} refused to {content['call']} pool {content['pool']!r}: {what}",
                    pool=content["pool"],
                    status=answer.status_code,
                )
            if not self._has_time(until, wait_s):
                raise BalancerUnknownError(
                    f"{self._url} did not {content['call']} pool {content['pool']!r} within {self._timeout_s:g} s: "
                    f"{what}",
                    url=self._url,
                )
            await self._clock.sleep(wait_s)
            wait_s *= 2

    def _has_time(self, until: datetime, wait_s: float) -> bool:
        return self._clock.now() + timedelta(seconds=wait_s) < until

    async def _send(self, body: bytes, identity: str) -> httpx.Response:
        timestamp = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._key, identity=identity, timestamp=timestamp, body=body),
        }
        return await self._http.post(self._url, content=body, headers=headers)

    def _parse(self, answer: httpx.Response) -> tuple[_Listed, ...]:
        try:
            return msgspec.json.decode(answer.content, type=_Answer).members
        except msgspec.DecodeError as error:
            raise BalancerUnknownError(
                f"{self._url} answered what nobody understands ({error}): {answer.text[:200]!r}", url=self._url
            ) from error
