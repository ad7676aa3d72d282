"""What the laws need of a world: an executor, hosts, and the truth about them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollwave.ports.executor import HostCommand, HostPlan, HostReport, HostState, HostVerb

if TYPE_CHECKING:
    from rollwave.ports.executor import Executor, Host
    from rollwave.ports.packages import SignedPackage

LIMIT_S = 60
"""No law takes longer, on the slowest machine; whatever hits it hangs."""

FAR_S = 10_000_000
"""A deadline that no law can reach by being slow."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to tell a host; the defaults are a first attempt at version 1.0."""

    host: Host
    verb: HostVerb
    version: str = "1.0"
    previous: str | None = None
    deployment: int = 1
    created_us: int = 0
    attempt: int = 1
    fence: int = 1
    in_s: float = FAR_S
    plan: dict[str, object] = field(default_factory=dict)


class World(ABC):
    """Servers, and one executor that reaches them all."""

    executor: Executor

    @abstractmethod
    def host(self) -> Host:
        """Return a host that nobody has touched."""

    @abstractmethod
    def package(self, version: str) -> SignedPackage:
        """Return the package of *version*; the version ``broken`` never becomes healthy."""

    @abstractmethod
    def lifecycle(self, host: Host) -> dict[str, tuple[str, ...]]:
        """Return the start and stop commands."""

    @abstractmethod
    def now(self) -> float:
        """Return the time of the hosts, in Unix seconds."""

    @abstractmethod
    def running(self, host: Host) -> str | None:
        """Return the version of the process that runs, as the process itself says."""

    @abstractmethod
    def starts(self, host: Host) -> int:
        """Return how often the app was started."""

    @abstractmethod
    def crash(self, host: Host) -> None:
        """Let the app die."""

    @abstractmethod
    def hold(self, host: Host) -> None:
        """Let the next verify wait until `release`."""

    @abstractmethod
    def release(self, host: Host) -> None:
        """Let it end."""

    @abstractmethod
    def take_down(self, host: Host) -> None:
        """Make the server unreachable."""

    @abstractmethod
    def bring_back(self, host: Host) -> None:
        """Make it reachable again."""

    @abstractmethod
    async def run_unheard(self, order: Order) -> None:
        """Have the order done, and lose the answer on its way back."""

    def command(self, order: Order) -> HostCommand:
        plan = HostPlan(
            deployment_id=order.deployment,
            created_us=order.created_us or order.deployment,
            host=order.host,
            package=self.package(order.version),
            previous_version=order.previous,
            **{
                "health_path": "/healthz",
                "version_path": "/version",
                "startup_timeout_s": 30,
                **self.lifecycle(order.host),
                **order.plan,
            },
        )
        deadline = self.now() + order.in_s
        return HostCommand(plan=plan, verb=order.verb, attempt=order.attempt, fence=order.fence, deadline=deadline)

    async def run(self, order: Order) -> HostReport:
        async with asyncio.timeout(LIMIT_S):
            return await self.executor.run(self.command(order))

    async def status(self, order: Order) -> HostReport:
        async with asyncio.timeout(LIMIT_S):
            return await self.executor.status(self.command(order))

    async def settled(self, order: Order) -> HostReport:
        """Ask until the verb no longer runs."""
        async with asyncio.timeout(LIMIT_S):
            while (report := await self._next_look(order)).state is HostState.RUNNING:
                pass  # every look is a round trip: no faster than the host
        return report

    async def at_work(self, order: Order) -> None:
        """Ask until the verb runs."""
        async with asyncio.timeout(LIMIT_S):
            while (await self._next_look(order)).state is not HostState.RUNNING:
                pass  # as above

    async def serve(self, host: Host, version: str, *, deployment: int = 1) -> None:
        """Bring *version* to *host* and prove that it serves."""
        for verb in (HostVerb.DOWNLOAD, HostVerb.INSTALL, HostVerb.VERIFY):
            report = await self.run(Order(host=host, verb=verb, version=version, deployment=deployment))
            assert report.state is HostState.SUCCEEDED, report

    async def _next_look(self, order: Order) -> HostReport:
        await asyncio.sleep(0)  # let the call under test go on
        return await self.executor.status(self.command(order))
