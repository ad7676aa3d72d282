"""A process that is cut off: it runs on, and does not reach the store, the hosts or the balancers; others do."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from rollwave.ports.balancer import BalancerUnknownError
from rollwave.ports.executor import HostUnreachableError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from rollwave.domain.errors import RollwaveError
    from rollwave.ports.balancer import Balancer, Member, Traffic
    from rollwave.ports.executor import Executor, HostCommand, HostReport

T = TypeVar("T")


class Side(Enum):
    """What a process may be cut off from."""

    STORE = "store"
    HOSTS = "hosts"
    BALANCERS = "balancers"


class Cuts:
    """What one process does not reach now; two partitions of one side end each for itself."""

    def __init__(self) -> None:
        self._cuts: list[Side] = []

    def begin(self, side: Side) -> None:
        """Cut."""
        self._cuts.append(side)

    def end(self, side: Side) -> None:
        """Mend."""
        self._cuts.remove(side)

    def has(self, side: Side) -> bool:
        """Return whether that side is cut off."""
        return side in self._cuts

    async def across(self, side: Side, call: Coroutine[object, object, T], error: RollwaveError) -> T:
        """
        Await *call* where it gets through; raise *error* where it does not, or where its answer does not.

        What was sent before the cut takes effect, and nobody here is told.
        """
        if self.has(side):
            call.close()
            raise error
        answer = await call
        if self.has(side):
            raise error
        return answer


class CutExecutor:
    """The fleet, as one process reaches it."""

    def __init__(self, executor: Executor, cuts: Cuts) -> None:
        self._executor = executor
        self._cuts = cuts

    async def run(self, command: HostCommand) -> HostReport:
        """Send the command."""
        return await self._cuts.across(Side.HOSTS, self._executor.run(command), _unreachable(command))

    async def status(self, command: HostCommand) -> HostReport:
        """Send the question."""
        return await self._cuts.across(Side.HOSTS, self._executor.status(command), _unreachable(command))


class CutBalancer:
    """A balancer, as one process reaches it."""

    def __init__(self, balancer: Balancer, cuts: Cuts) -> None:
        self._balancer = balancer
        self._cuts = cuts

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Send the call."""
        call = self._balancer.mark_down(member, drain_timeout_s=drain_timeout_s)
        return await self._cuts.across(Side.BALANCERS, call, _silent())

    async def mark_up(self, member: Member) -> None:
        """Send the call."""
        await self._cuts.across(Side.BALANCERS, self._balancer.mark_up(member), _silent())

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Send the call."""
        return await self._cuts.across(Side.BALANCERS, self._balancer.read(members), _silent())


def _unreachable(command: HostCommand) -> HostUnreachableError:
    return HostUnreachableError(f"{command.plan.host.instance} cannot be reached from here")


def _silent() -> BalancerUnknownError:
    return BalancerUnknownError("the balancer cannot be reached from here")
