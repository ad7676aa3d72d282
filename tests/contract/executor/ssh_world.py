"""The world behind sshd: the processes of the local world, on servers that are reached through real OpenSSH."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollwave.executors.ssh import SshExecutor
from rollwave.host import driver_source, porter_source
from tests.contract.executor.local_world import BRISK, Fleet, LocalWorld
from tests.contract.executor.sshd import Site, Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rollwave.ports.executor import Host
    from tests.contract.executor.world import Order


class Servers:
    """The sshds of a test session, each started when somebody first needs its server."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._sshds: dict[str, Sshd] = {}

    def place(self, host: Host, *, user: str | None = None) -> Host:
        """Return *host* at an address of its own, where an sshd answers, and lets *user* in where it is not we."""
        number = len(self._sshds) + 2
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        sshd = self.site.server(address, **({} if user is None else self.site.settings_for(user)))
        sshd.start()
        self._sshds[address] = sshd
        return replace(host, address=address)

    def of(self, host: Host) -> Sshd:
        return self._sshds[host.address]

    def stop(self) -> None:
        for sshd in self._sshds.values():
            sshd.kill()


@contextmanager
def open_servers(folder: Path) -> Iterator[Servers]:
    """Lay out a site; all that was started there ends with it."""
    servers = Servers(Site.at(folder))
    try:
        yield servers
    finally:
        servers.stop()


class SshWorld(LocalWorld):
    """
    Args:
        fleet: The instances.
        servers: Their sshds.
        user: The account there; ours where None. Another one has a key that it may use, and no home.
    """

    def __init__(self, fleet: Fleet, servers: Servers, *, user: str | None = None) -> None:
        self.servers = servers
        self._user = user
        self._executors: list[SshExecutor] = []
        super().__init__(fleet)

    def _new_executor(self, **options: object) -> SshExecutor:
        public = self._fleet.key.public
        defaults = {
            "driver": driver_source(),
            "porter": porter_source(),
            "trusted_keys": {public.key_id: public.pem},
            "access": self.servers.site.access(**({} if self._user is None else {"user": self._user})),
            "python": "/usr/bin/python3",
            "patience": BRISK,
        }
        self._executors.append(SshExecutor(**(defaults | options)))
        return self._executors[-1]

    def host(self) -> Host:
        return self.servers.place(super().host(), user=self._user)

    def take_down(self, host: Host) -> None:
        self.servers.of(host).kill()

    def bring_back(self, host: Host) -> None:
        self.servers.of(host).start()

    async def run_unheard(self, order: Order) -> None:
        await self._new_executor().run(self.command(order))

    async def close(self) -> None:
        for executor in self._executors:
            await executor.close()
