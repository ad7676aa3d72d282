"""The world of a real Salt master and its minions, which run real processes on this machine."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from demo.salt import EAUTH, USER, SaltLab, installed
from rollwave.executors.salt import SaltExecutor
from rollwave.host import driver_source
from rollwave.system import SystemClock
from tests.contract.executor.local_world import Fleet, LocalWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollwave.ports.executor import Host
    from tests.contract.executor.world import Order

MINIONS = 5

PATIENT_S = 15.0
HASTY_S = 2.0


def needs_salt() -> None:
    """Skip the running test, or let it fail in CI, where there is no Salt."""
    if not installed() and os.environ.get("CI"):
        pytest.fail("Salt is missing: ./dev salt installs it")
    if not installed():
        pytest.skip("Salt is missing: ./dev salt installs it")


@contextmanager
def open_salt() -> Iterator[SaltLab]:
    """Start a master with minions; it stops with all of them. Skips, or fails in CI, where there is no Salt."""
    needs_salt()
    # Salt's sockets are below it: a folder of pytest would make their paths too long.
    with (
        tempfile.TemporaryDirectory(prefix="rw-salt-") as folder,
        SaltLab(Path(folder), [f"minion-{number}" for number in range(1, MINIONS + 1)]) as lab,
    ):
        yield lab


class SaltWorld(LocalWorld):
    """Instances of the fleet, each on one of the minions, in turn."""

    def __init__(self, fleet: Fleet, lab: SaltLab, **options: object) -> None:
        self.lab = lab
        self._options = options
        super().__init__(fleet)

    def _new_executor(self, **other: object) -> SaltExecutor:
        public = self._fleet.key.public
        return SaltExecutor(
            self.lab.url,
            user=USER,
            password=self.lab.password,
            eauth=EAUTH,
            driver=driver_source(),
            trusted_keys={public.key_id: public.pem},
            clock=SystemClock(),
            # Patient: a machine that runs tests is slow, and laws do not depend on who loses patience.
            **({"answer_s": PATIENT_S, "look_s": 1.5} | self._options | other),
        )

    async def close(self) -> None:
        await self.executor.close()

    def host(self) -> Host:
        host, names = super().host(), list(self.lab.minions)
        return msgspec.structs.replace(host, server=names[host.port % len(names)])

    def take_down(self, host: Host) -> None:
        self.lab.minions[host.server].kill()
        self.executor._answer_s = HASTY_S

    def bring_back(self, host: Host) -> None:
        self.lab.start_minion(host.server)
        self.executor._answer_s = PATIENT_S

    async def run_unheard(self, order: Order) -> None:
        other = self._new_executor()
        try:
            await other.run(self.command(order))
        finally:
            await other.close()
