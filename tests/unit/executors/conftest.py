from __future__ import annotations

import pytest

from rollwave.ports.executor import Host, HostCommand, HostPlan, HostVerb
from rollwave.ports.packages import SignedPackage


@pytest.fixture
def command():
    host = Host(instance="shop/web-1:8080", server="web-1", address="10.0.0.1", port=8080, deploy_path="/srv/shop")
    package = SignedPackage(
        app="shop",
        version="1.0",
        sha256="ab" * 32,
        size=10,
        manifest=b'{"app":"shop"}',
        signature=bytes(64),
        key_id="0123456789abcdef",
        url="file:///packages/shop",
    )
    plan = HostPlan(
        deployment_id=7,
        created_us=1_900_000_000_000_000,
        host=host,
        package=package,
        previous_version="0.9",
        start=("ctl", "start", "größe"),
        stop=("ctl", "stop"),
        health_path="/healthz",
    )
    return HostCommand(plan=plan, verb=HostVerb.INSTALL, attempt=2, fence=3, deadline=1_700_000_000.25)
