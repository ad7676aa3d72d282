"""The world in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from rollwave.ports.executor import Host, HostUnknownError, HostVerb
from rollwave.ports.packages import SignedPackage
from rollwave.testing.fake_executor import FakeExecutor
from rollwave.testing.faults import Hang, LoseReply
from tests.contract.executor.world import Order, World

_SPEED = 1000
_NEVER_S = 10**9


class FastClock:
    """Real time, a thousand times as fast."""

    def __init__(self) -> None:
        self._begin = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        elapsed_s = asyncio.get_running_loop().time() - self._begin
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=elapsed_s * _SPEED)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / _SPEED)


class FakeWorld(World):
    def __init__(self) -> None:
        self._clock = FastClock()
        self.executor = FakeExecutor(clock=self._clock, durations_s=dict.fromkeys(HostVerb, 2.0), patience_s=_NEVER_S)
        self.executor.break_version("broken")
        self._numbers = count(1)

    def host(self) -> Host:
        number = next(self._numbers)
        return Host(
            instance=f"shop/web-{number}:80",
            server=f"web-{number}",
            address="::",
            port=80,
            deploy_path=f"/srv/{number}",
        )

    def package(self, version: str) -> SignedPackage:
        sha256 = version.encode().hex().rjust(64, "0")
        return SignedPackage(
            app="shop",
            version=version,
            sha256=sha256,
            size=1,
            manifest=b"{}",
            signature=bytes(64),
            key_id="0" * 16,
            url=f"file:///{version}",
        )

    def lifecycle(self, host: Host) -> dict[str, tuple[str, ...]]:
        return {"start": ("start",), "stop": ("stop",)}

    def now(self) -> float:
        return self._clock.now().timestamp()

    def running(self, host: Host) -> str | None:
        return self.executor.host(host.instance).running

    def starts(self, host: Host) -> int:
        return self.executor.host(host.instance).installs.total()

    def crash(self, host: Host) -> None:
        self.executor.host(host.instance).running = None

    def hold(self, host: Host) -> None:
        self.executor.script(host.instance, HostVerb.VERIFY, Hang())

    def release(self, host: Host) -> None:
        self.executor.release(host.instance)

    def take_down(self, host: Host) -> None:
        self.executor.host(host.instance).is_reachable = False

    def bring_back(self, host: Host) -> None:
        self.executor.host(host.instance).is_reachable = True

    async def run_unheard(self, order: Order) -> None:
        self.executor.script(order.host.instance, order.verb, LoseReply())
        with pytest.raises(HostUnknownError):
            await self.run(order)
