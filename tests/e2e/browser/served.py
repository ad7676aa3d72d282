"""A real server for browsers: real HTTP, database, engine and people; hosts and balancers live in memory."""

from __future__ import annotations

import sys
from pathlib import Path

from rollwave.domain.errors import RollwaveError
from rollwave.ports.executor import HostVerb
from rollwave.system import SystemClock
from rollwave.testing.fake_balancer import FakeBalancer
from rollwave.testing.fake_executor import FakeExecutor
from rollwave.web.server import serve

BROKEN = {"search-prod/search-sin-03:8080": "2.10.0", "billing-prod/shop-fra-02:9090": "7.2.0"}
"""Versions that do not come up at some places."""

BROKEN_EVERYWHERE = "7.2.0"

DURATIONS_S = {HostVerb.DOWNLOAD: 0.05, HostVerb.INSTALL: 0.1, HostVerb.VERIFY: 0.15}

PASSWORD = "correct horse battery staple"
PEOPLE = {"lin.wei": ("Lin Wei", ["admin"]), "omar": ("Omar Haddad", ["operator"]), "vera": ("Vera Novak", ["viewer"])}
"""Who can sign in: full name and roles, by name."""


class OpenBalancer(FakeBalancer):
    """Knows every member, from the moment it is first named."""

    def _state(self, member):
        if member.name not in self._states:
            self.add(member)
        return super()._state(member)


def wire(data_dir: Path):
    from rollwave.bootstrap import build
    from rollwave.web import access
    from rollwave.web.people import accounts

    clock = SystemClock()
    executor = FakeExecutor(clock=clock, durations_s=DURATIONS_S)
    executor.break_version(BROKEN_EVERYWHERE)
    for instance, version in BROKEN.items():
        executor.host(instance)._broken_versions = {version}
    maker = access.Principal(name="rollwave", limits=((access.Grant(role=access.Role.ADMIN),),))
    for name, (full_name, roles) in PEOPLE.items():
        grants = [access.Grant(role=access.Role(role)) for role in roles]
        accounts.add(name, maker=maker, grants=grants, now=clock.now(), full_name=full_name, password=PASSWORD)
    return build(data_dir, executors={"local": executor}, balancers={"edge": OpenBalancer(clock)})


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), port=0, wire=wire)
    except RollwaveError as error:
        sys.exit(f"{error.code}: {error.message}")
