"""A real server over fakes: real HTTP, real database, real engine; hosts and balancer live in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rollwave.domain.errors import RollwaveError
from rollwave.system import SystemClock
from rollwave.testing.fake_balancer import FakeBalancer
from rollwave.testing.fake_executor import FakeExecutor
from rollwave.web.server import serve

if TYPE_CHECKING:
    from rollwave.ports.balancer import Member

BROKEN = "broken"
"""This version never becomes healthy."""


class OpenBalancer(FakeBalancer):
    """Knows every member, from the moment it is first named."""

    def _state(self, member: Member):
        if member.name not in self._states:
            self.add(member)
        return super()._state(member)


def wire(data_dir: Path):
    from django.conf import settings

    from rollwave.bootstrap import build

    # A million rounds for each of some hundred sign-ins would take longer than all the rest.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    clock = SystemClock()
    executor = FakeExecutor(clock=clock)
    executor.break_version(BROKEN)
    return build(data_dir, executors={"local": executor}, balancers={"edge": OpenBalancer(clock)})


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), port=0, wire=wire)
    except RollwaveError as error:
        sys.exit(f"{error.code}: {error.message}")
