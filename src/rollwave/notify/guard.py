"""
Which addresses notifications may be sent to.

Whoever may subscribe chooses where our own machine connects to. By default that is the public internet alone: what is
inside (metadata services, admin pages, the broker of somebody else) has to be named in ``[notify] allow``.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from rollwave.ports.notifier import ChannelError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Guard:
    """
    Lets through what is public, and what is named.

    Args:
        allow: Networks (``10.1.0.0/16``, ``127.0.0.1``) and names of hosts.

    Raises:
        ValueError: If an entry is neither.
    """

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._names: set[str] = set()
        for entry in allow:
            try:
                self._networks.append(ip_network(entry))
            except ValueError:
                if "/" in entry or not entry:
                    raise ValueError(f"allow holds {entry!r}, which is neither a network nor a host") from None
                self._names.add(entry.lower())

    async def address_of(self, host: str, port: int) -> str:
        """
        Return an address of *host* that may be connected to; connect to that, or another may answer by then.

        Raises:
            ChannelError: If it has none.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ChannelError(f"{host} cannot be found: {error.strerror or error}") from error
        addresses = [str(one[4][0]) for one in found]
        for address in addresses:
            if self.is_named(host, address) or _is_public(address):
                return address
        shown = ", ".join(dict.fromkeys(addresses))
        raise ChannelError(f"{host} is not public ({shown}): name it in [notify] allow of rollwave.toml")

    def is_named(self, host: str, address: str) -> bool:
        """Return whether somebody has allowed this host or address explicitly."""
        known = ip_address(address.partition("%")[0])
        return host.lower() in self._names or any(
            known.version == network.version and known in network for network in self._networks
        )


def _is_public(address: str) -> bool:
    known = ip_address(address.partition("%")[0])
    mapped = getattr(known, "ipv4_mapped", None)
    known = mapped or known
    return known.is_global and not known.is_multicast
