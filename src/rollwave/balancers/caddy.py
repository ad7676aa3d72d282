"""
Caddy, through its admin API.

A pool is the ``reverse_proxy`` handler that carries ``"@id": "<pool>"``; a member is in traffic when its dial address
is in that handler's ``upstreams``. Every change is a change of Caddy's configuration, which Caddy applies by replacing
its HTTP servers: changes that arrive together are therefore written together. What such a replacement costs clients,
and the set-up that costs them nothing, is in ``docs/balancers.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from rollwave.balancers.drain import wait_until
from rollwave.balancers.pool_writer import Change, PoolWriter
from rollwave.balancers.shared_read import SharedRead
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock

WRITE_ATTEMPTS: Final = 10
"""How often a write is tried because another writer was faster."""

CALL_ATTEMPTS: Final = 4
"""How often a call is tried because its connection broke."""


def dial_of(member: Member) -> str:
    """Return the address as Caddy writes it: ``host:port``, with brackets around an IPv6 address."""
    host = f"[{member.address}]" if ":" in member.address else member.address
    return f"{host}:{member.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Upstreams:
    """The upstreams of one pool as Caddy has them now, with the tag that guards the next write."""

    entries: list[dict[str, Any]] | None
    etag: str

    @property
    def dials(self) -> frozenset[str]:
        return frozenset(entry["dial"] for entry in self.entries or [])

    def with_changes(self, changes: Sequence[Change]) -> list[dict[str, Any]]:
        """Return the entries after *changes*; an entry that stays keeps all of its options and its place."""
        wanted = {change.dial: change.present for change in changes}
        kept = [entry for entry in self.entries or [] if wanted.get(entry["dial"], True)]
        added = [dial for dial, present in wanted.items() if present and dial not in self.dials]
        return kept + [{"dial": dial} for dial in added]


class CaddyBalancer:
    """
    Puts members in and out of the upstreams of Caddy's running configuration.

    Args:
        admin_url: Where Caddy's admin API listens, for example ``http://127.0.0.1:2019``.
        clock: Waiting and time.
        timeout_s: Most time for one answer of the admin API, in seconds.
        gather_s: How long a write waits for other changes to the same pool, in seconds: they go into one reload.
        poll_s: How often the requests in flight are read while a member drains, in seconds.
    """

    def __init__(
        self, admin_url: str, *, clock: Clock, timeout_s: float = 3.0, gather_s: float = 0.005, poll_s: float = 0.05
    ) -> None:
        self._admin_url = admin_url
        self._clock = clock
        self._gather_s = gather_s
        self._poll_s = poll_s
        # Caddy closes its admin connections with every change of configuration; a kept one would be found dead.
        limits = httpx.Limits(max_connections=8, max_keepalive_connections=0)
        # `pool=None`: waiting for a free connection is our own queue, not silence of the balancer.
        self._http = httpx.AsyncClient(
            base_url=admin_url, limits=limits, timeout=httpx.Timeout(timeout_s, pool=None), trust_env=False
        )
        self._writers: dict[str, PoolWriter[Change]] = {}
        self._requests = SharedRead(self._read_requests)

    async def aclose(self) -> None:
        """Close the connections to the admin API."""
        await self._http.aclose()

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Take *member* out of its pool, then wait until Caddy counts no request to it."""
        await self._writer(member.pool).put(Change(dial=dial_of(member), present=False))
        # Twice in a row: a request that had chosen its upstream when the servers were replaced is counted a bit later.
        zeros = 0

        async def is_drained() -> bool:
            nonlocal zeros
            zeros = 0 if await self.in_flight(member) else zeros + 1
            return zeros >= 2

        return await wait_until(is_drained, clock=self._clock, timeout_s=drain_timeout_s, poll_s=self._poll_s)

    async def mark_up(self, member: Member) -> None:
        """Put *member* into its pool; the write has been read back when this returns."""
        await self._writer(member.pool).put(Change(dial=dial_of(member), present=True))

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Return what Caddy's running configuration and its request counters say."""
        if not members:
            return {}
        dials = (await self._fetch(members[0].pool)).dials
        requests = await self._requests.get()

        def traffic_of(dial: str) -> Traffic:
            if dial in dials:
                return Traffic.IN
            return Traffic.DRAINING if requests.get(dial, 0) else Traffic.OUT

        return {member.name: traffic_of(dial_of(member)) for member in members}

    async def in_flight(self, member: Member) -> int:
        """Return how many requests Caddy has under way to *member*, in traffic or not."""
        return (await self._requests.get()).get(dial_of(member), 0)

    def _writer(self, pool: str) -> PoolWriter[Change]:
        if pool not in self._writers:

            async def write(changes: Sequence[Change]) -> None:
                await self._write(pool, changes)

            self._writers[pool] = PoolWriter(write, clock=self._clock, gather_s=self._gather_s)
        return self._writers[pool]

    async def _write(self, pool: str, changes: Sequence[Change]) -> None:
        """Bring *changes* about; done only when a read shows them."""
        for attempt in range(WRITE_ATTEMPTS):
            now = await self._fetch(pool)
            wanted = now.with_changes(changes)
            if wanted == (now.entries or []):
                return
            # PATCH replaces a list that exists; a handler without one needs POST, which creates it.
            response = await self._call(
                "POST" if now.entries is None else "PATCH",
                f"/id/{pool}/upstreams",
                json=wanted,
                headers={"If-Match": now.etag},
            )
            if response.status_code == httpx.codes.PRECONDITION_FAILED:
                await self._clock.sleep(0.01 * 2 ** min(attempt, 5))
            elif response.is_error:
                raise BalancerUnknownError(
                    f"Caddy at {self._admin_url} refused new upstreams of pool {pool!r}: {response.text.strip()}; "
                    f"it goes on with the configuration it had",
                    pool=pool,
                    status=response.status_code,
                )
        raise BalancerUnknownError(
            f"Caddy at {self._admin_url}: other writers changed pool {pool!r} {WRITE_ATTEMPTS} times in a row; "
            f"find out who else writes its configuration",
            pool=pool,
        )

    async def _fetch(self, pool: str) -> _Upstreams:
        response = await self._call("GET", f"/id/{pool}/upstreams")
        entries = response.json() if response.is_success else ...
        if not (entries is None or isinstance(entries, list)):
            raise BalancerPoolError(
                f"Caddy at {self._admin_url} has no pool {pool!r}: {response.text.strip()}; give the reverse_proxy "
                f'handler of this pool "@id": "{pool}", and start Caddy with --resume so that it survives a restart',
                pool=pool,
                status=response.status_code,
            )
        return _Upstreams(entries=entries, etag=response.headers.get("Etag", ""))

    async def _read_requests(self) -> dict[str, int]:
        response = await self._call("GET", "/reverse_proxy/upstreams")
        if response.is_error:
            raise BalancerUnknownError(
                f"Caddy at {self._admin_url} does not tell its requests in flight: {response.text.strip()}",
                status=response.status_code,
            )
        return {entry["address"]: entry["num_requests"] for entry in response.json()}

    async def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        for attempt in range(CALL_ATTEMPTS):
            try:
                return await self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                # Caddy replaces its admin server as well with every change, and may drop a connection in doing so. To
                # repeat is safe: reads change nothing, and a write that did arrive has made its own If-Match stale.
                if isinstance(error, httpx.TimeoutException) or attempt == CALL_ATTEMPTS - 1:
                    raise BalancerUnknownError(
                        f"Caddy's admin API at {self._admin_url} did not answer ({type(error).__name__}: {error}); "
                        f"see that Caddy runs and that this address is its admin address",
                        url=self._admin_url,
                    ) from error
                await self._clock.sleep(0.02 * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")
