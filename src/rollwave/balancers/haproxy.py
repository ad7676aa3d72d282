"""
HAProxy 2.4 and newer, through its runtime API.

A pool is a backend, and a member is the server of that backend with the member's address and port, whatever its name in
``haproxy.cfg``. HAProxy forgets what it was told when it restarts; `HaproxyBalancer.read` then shows the truth.
"""

from __future__ import annotations

import asyncio
import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rollwave.balancers.drain import wait_until
from rollwave.balancers.shared_read import SharedRead
from rollwave.ports.balancer import BalancerPoolError, BalancerUnknownError, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock

MAX_CONNECTIONS: Final = 4
"""Connections to the runtime API at a time: HAProxy's default allows ten, for everybody."""

SERVER_ROWS: Final = 4
"""The bit that asks ``show stat`` for servers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Server:
    """One server as ``show stat`` shows it."""

    name: str
    address: str
    status: str
    request_count: int
    check: str

    @property
    def traffic(self) -> Traffic:
        # "UP", "UP 1/3" (checks begin to fail) and "no check" take new requests. DOWN, DRAIN, MAINT and NOLB do not.
        if self.status.startswith("UP") or self.status == "no check":
            return Traffic.IN
        return Traffic.DRAINING if self.request_count else Traffic.OUT

    @property
    def is_in_maintenance(self) -> bool:
        return self.status.startswith("MAINT")


def parse_servers(answer: str) -> tuple[_Server, ...]:
    """Return the servers in an answer to ``show stat``: CSV whose header begins with ``# ``."""
    rows = csv.DictReader(answer.strip().removeprefix("# ").splitlines())
    return tuple(
        _Server(
            name=row["svname"],
            address=row["addr"],
            status=row["status"],
            request_count=int(row["scur"] or 0) + int(row["qcur"] or 0),
            # The star marks a check that is running now, beside the result of the one before.
            check=f"{row['check_status'].removeprefix('* ')} {row['last_chk']}".strip(),
        )
        for row in rows
    )


class HaproxyBalancer:
    """
    Sets servers to drain, maintenance and ready.

    Args:
        endpoint: The runtime API (``stats socket ... level admin``): a path, or ``host:port``.
        clock: Waiting and time.
        server_name: Name of a member's server in ``haproxy.cfg``; None matches by address and port, which needs IP
            addresses in the inventory.
        timeout_s: Most time for one answer of the runtime API, in seconds.
        up_timeout_s: Most time until HAProxy's own health check has accepted a member, in seconds.
        poll_s: How often HAProxy is read while something is awaited, in seconds.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        clock: Clock,
        server_name: Callable[[Member], str] | None = None,
        timeout_s: float = 3.0,
        up_timeout_s: float = 30.0,
        poll_s: float = 0.02,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._server_name = server_name
        self._timeout_s = timeout_s
        self._up_timeout_s = up_timeout_s
        self._poll_s = poll_s
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._pools: dict[str, SharedRead[tuple[_Server, ...]]] = {}

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Drain *member*, then put it into maintenance; what is left by then is looked at once more."""
        server = await self._server(member)
        if not server.is_in_maintenance:
            await self._set_state(member, server, "drain")

        async def is_drained() -> bool:
            server = await self._server(member)
            if server.request_count:
                return False
            if not server.is_in_maintenance:
                # Draining still lets in who holds a persistence cookie: only maintenance is the end of it.
                await self._set_state(member, server, "maint")
                server = await self._server(member)
            return server.request_count == 0

        return await wait_until(is_drained, clock=self._clock, timeout_s=drain_timeout_s, poll_s=self._poll_s)

    async def mark_up(self, member: Member) -> None:
        """Set *member* ready; returns once HAProxy counts it as up, its health check included."""
        await self._set_state(member, await self._server(member), "ready")

        async def is_up() -> bool:
            return (await self._server(member)).traffic is Traffic.IN

        if not await wait_until(is_up, clock=self._clock, timeout_s=self._up_timeout_s, poll_s=self._poll_s):
            server = await self._server(member)
            raise BalancerUnknownError(
                f"HAProxy was told that {member.name} is ready and keeps it {server.status} after "
                f"{self._up_timeout_s:g} s; its health check says: {server.check or 'nothing'}",
                member=member.name,
                status=server.status,
            )

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Return what HAProxy does now; a member whose health check fails is out as well."""
        if not members:
            return {}
        servers = await self._servers(members[0].pool)
        return {member.name: self._find(member, servers).traffic for member in members}

    async def _server(self, member: Member) -> _Server:
        return self._find(member, await self._servers(member.pool))

    def _find(self, member: Member, servers: Sequence[_Server]) -> _Server:
        host = f"[{member.address}]" if ":" in member.address else member.address
        address = f"{host}:{member.port}"
        wanted_name = None if self._server_name is None else self._server_name(member)
        found = [s for s in servers if (s.address == address if wanted_name is None else s.name == wanted_name)]
        if len(found) != 1:
            what = address if wanted_name is None else wanted_name
            raise BalancerPoolError(
                f"backend {member.pool!r} of HAProxy at {self._endpoint} has {len(found)} servers {what!r}; it must "
                f"have exactly one for {member.name} in haproxy.cfg",
                pool=member.pool,
                member=member.name,
            )
        return found[0]

    async def _servers(self, pool: str) -> tuple[_Server, ...]:
        if pool not in self._pools:

            async def read() -> tuple[_Server, ...]:
                answer = await self._command(f"show stat {pool} {SERVER_ROWS} -1")
                if not answer.startswith("#"):
                    raise BalancerPoolError(
                        f"HAProxy at {self._endpoint} does not show a backend {pool!r}: {answer or 'empty answer'}; "
                        f"the group's traffic pool must be the name of a backend in haproxy.cfg",
                        pool=pool,
                    )
                return parse_servers(answer)

            self._pools[pool] = SharedRead(read)
        return await self._pools[pool].get()

    async def _set_state(self, member: Member, server: _Server, state: str) -> None:
        answer = await self._command(f"set server {member.pool}/{server.name} state {state}")
        if answer:
            raise BalancerPoolError(
                f"HAProxy at {self._endpoint} refused to set {member.pool}/{server.name} to {state}: {answer}; "
                f'the socket needs "level admin"',
                pool=member.pool,
                member=member.name,
            )

    async def _command(self, line: str) -> str:
        """Send one command, which HAProxy answers before it closes the connection."""
        async with self._connections:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._exchange(line)
            except (OSError, TimeoutError) as error:
                raise BalancerUnknownError(
                    f"HAProxy's runtime API at {self._endpoint} did not answer ({type(error).__name__}: {error}); see "
                    f'that HAProxy runs and that "stats socket" in haproxy.cfg names this address',
                    endpoint=self._endpoint,
                ) from error

    async def _exchange(self, line: str) -> str:
        reader, writer = await self._connect()
        try:
            writer.write(f"{line}\n".encode())
            await writer.drain()
            return (await reader.read()).decode().strip()
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if "/" in self._endpoint:
            return await asyncio.open_unix_connection(self._endpoint)
        host, _, port = self._endpoint.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))
