"""salt-api (rest_cherrypy), as far as Rollwave uses it: log in, publish one function, read a job back, hear events."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

import httpx

from rollwave.ports.executor import HostUnknownError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Collection, Mapping

_FUNCTION: Final = re.compile(r"rollwave\.[a-z_]+")
"""What we ever publish. Never a list of functions: Salt checks a user's rights only loosely there."""

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0

_KEEP_ALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""The stream may be silent for long; a master that vanished must not look like one where nothing happens."""


class SaltApiError(HostUnknownError):
    """salt-api did not do what it was asked; whether anything reached the minions is not known."""


class SaltApi:
    """
    One salt-api. Bound to one event loop; safe to call from many coroutines of it.

    Args:
        url: Where it listens.
        user, password, eauth: Who we are there.
        call_s: Most time for one answer, in seconds.
        insist_s: How long a call that failed is repeated: what we ask is safe to repeat.
        tls: What its certificate is checked against; None: the certificates of the system.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str,
        password: str,
        eauth: str,
        call_s: float = 15.0,
        insist_s: float = 15.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._login = {"username": user, "password": password, "eauth": eauth}
        self._insist_s = insist_s
        self._token = ""
        self._logging_in = asyncio.Lock()
        # No cookies: salt-api believes a cookie more than the token beside it, even when the cookie is stale.
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Accept": "application/json"},
            timeout=call_s,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            transport=httpx.AsyncHTTPTransport(socket_options=_KEEP_ALIVE, verify=tls or True),
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    async def publish(
        self, function: str, document: Mapping[str, object], *, minions: Collection[str], job_id: str
    ) -> frozenset[str]:
        """
        Have *function* called on *minions*; a publish that is repeated under its job id is done once by each.

        Returns:
            Those of *minions* that the master has told, of which it has accepted keys. It does not say who heard it.
            None: it has a key of none of them, or did not take the publish; its answer is the same.

        Raises:
            SaltApiError: If salt-api did not answer well.
        """
        if not isinstance(function, str) or not _FUNCTION.fullmatch(function):
            raise ValueError(f"{function!r} is no function of Rollwave's module")
        answer = await self._call(
            {
                "client": "local_async",
                "tgt": sorted(minions),
                "tgt_type": "list",
                "fun": function,
                "arg": [document],
                "jid": job_id,
            }
        )
        told = answer.get("minions", []) if isinstance(answer, dict) else []
        return frozenset(str(minion) for minion in told)

    async def returns(self, job_id: str) -> dict[str, Any]:
        """
        Return what the master's job cache has of a job: what each minion returned, by its id.

        Raises:
            SaltApiError: If salt-api did not answer well.
        """
        answer = await self._call({"client": "runner", "fun": "jobs.list_job", "jid": job_id})
        result = answer.get("Result") if isinstance(answer, dict) else None
        if not isinstance(result, dict):
            return {}
        return {minion: entry["return"] for minion, entry in result.items() if "return" in entry}

    async def events(self) -> AsyncIterator[tuple[str, str]]:
        """
        Yield tag and data (JSON) of each event on the master's bus; first an empty pair, once it is listened to.

        Raises:
            SaltApiError: When the stream breaks; what happens until the next one is open is not heard.
        """
        try:
            token = await self._logged_in(stale="")
            async with self._client.stream(
                "GET", "/events", headers={"X-Auth-Token": token}, timeout=httpx.Timeout(10.0, read=None)
            ) as response:
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    self._forget(token)
                response.raise_for_status()
                tag = ""
                async for line in response.aiter_lines():
                    kind, _, rest = line.partition(": ")
                    if kind == "retry":
                        yield "", ""
                    elif kind == "tag":
                        tag = rest
                    elif kind == "data":
                        yield tag, rest
        except httpx.HTTPError as error:
            raise self._error(f"the event stream broke: {error!r}") from error
        raise self._error("the event stream ended")

    async def _call(self, low: Mapping[str, object]) -> Any:
        """Return the answer to one command; repeat it where salt-api stumbles, as it does over parallel calls."""
        pause_s, give_up_at = _FIRST_PAUSE_S, asyncio.get_running_loop().time() + self._insist_s
        while True:
            try:
                return await self._try(low)
            except httpx.HTTPError as error:
                is_refusal = isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error
                if is_refusal or asyncio.get_running_loop().time() + pause_s > give_up_at:
                    raise self._error(f"{low['fun']} failed: {error!r}") from error
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _try(self, low: Mapping[str, object]) -> Any:
        token = await self._logged_in(stale="")
        response = await self._client.post("/", json=[low], headers={"X-Auth-Token": token})
        if response.status_code == httpx.codes.UNAUTHORIZED:
            # Tokens expire, and a salt-api that was started again has forgotten all of them.
            token = await self._logged_in(stale=token)
            response = await self._client.post("/", json=[low], headers={"X-Auth-Token": token})
        if response.status_code == httpx.codes.UNAUTHORIZED:
            user = self._login["username"]
            raise self._error(f"user {user} may not call {low['fun']}; see external_auth in docs/salt.md")
        response.raise_for_status()
        try:
            return response.json()["return"][0]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._error(f"its answer to {low['fun']} is not what was expected: {response.text[:300]}") from error

    async def _logged_in(self, *, stale: str) -> str:
        async with self._logging_in:
            if stale:
                self._forget(stale)
            if not self._token:
                response = await self._client.post("/login", json=self._login)
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    user, eauth = self._login["username"], self._login["eauth"]
                    raise self._error(f"user {user} cannot log in; check user, password and eauth ({eauth})")
                response.raise_for_status()
                try:
                    self._token = str(response.json()["return"][0]["token"])
                except (ValueError, KeyError, IndexError, TypeError) as error:
                    raise self._error("its answer to a login has no token; is it salt-api?") from error
            return self._token

    def _forget(self, token: str) -> None:
        if self._token == token:
            self._token = ""

    def _error(self, reason: str) -> SaltApiError:
        return SaltApiError(f"salt-api at {self._url}: {reason}", url=self._url)


def heard_return(tag: str, data: str, *, job_ids: Collection[str]) -> tuple[str, str, Any] | None:
    """Return job id, minion and what it returned, where an event is the return of one of *job_ids*."""
    parts = tag.split("/", 4)
    if len(parts) != 5 or parts[:2] != ["salt", "job"] or parts[3] != "ret" or parts[2] not in job_ids:
        return None
    try:
        return parts[2], parts[4], json.loads(data)["data"]["return"]
    except (ValueError, KeyError, TypeError):
        return None
