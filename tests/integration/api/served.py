"""A real server over fakes: real HTTP, real database, real engine; hosts and balancer live in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rollwave.domain.errors import RollwaveError
from rollwave.engine import effects
from rollwave.ports.balancer import BalancerUnknownError
from rollwave.system import SystemClock
from rollwave.testing.fake_balancer import FakeBalancer
from rollwave.testing.fake_executor import FakeExecutor
from rollwave.web.server import serve

if TYPE_CHECKING:
    from rollwave.ports.balancer import Member
    from rollwave.ports.clock import Clock

BROKEN = "broken"
"""This version never becomes healthy."""


class OpenBalancer(FakeBalancer):
    """Knows every member, from the moment it is first named; is down for a pool while there is a file of its name."""

    def __init__(self, clock: Clock, down: Path) -> None:
        super().__init__(clock)
        self._down = down

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        if (self._down / member.pool).exists():
            raise BalancerUnknownError("the balancer at 127.0.0.1:2019 does not answer: connection refused")
        return await super().mark_down(member, drain_timeout_s=drain_timeout_s)

    def _state(self, member: Member):
        if member.name not in self._states:
            self.add(member)
        return super()._state(member)


def wire(data_dir: Path):
    from django.conf import settings

    from rollwave.bootstrap import build

    # A million rounds for each of some hundred sign-ins would take longer than all the rest.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Nor does anybody here wait half a minute for a balancer that is down on purpose.
    effects.BALANCER_LIMIT_S = 2
    clock = SystemClock()
    executor = FakeExecutor(clock=clock)
    executor.break_version(BROKEN)
    return build(data_dir, executors={"local": executor}, balancers={"edge": OpenBalancer(clock, data_dir / "down")})


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), port=0, wire=wire)
    except RollwaveError as error:
        sys.exit(f"{error.code}: {error.message}")
