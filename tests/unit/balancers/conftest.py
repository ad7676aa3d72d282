import pytest

from rollwave.ports.balancer import Member
from tests.unit.balancers.virtual_clock import VirtualClock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def member() -> Member:
    return Member(pool="web", name="shop/a:80", address="10.0.0.1", port=80)
