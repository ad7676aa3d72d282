"""Hosts and balancers of a simulated world: the shipped fakes, with chance in their carriers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from rollwave.ports.executor import HostVerb
from rollwave.testing.fake_balancer import BalancerFault, FakeBalancer
from rollwave.testing.fake_executor import FakeExecutor
from rollwave.testing.faults import (
    DeliverLate,
    DeliverTwice,
    Fail,
    Hang,
    KillWorker,
    LoseCommand,
    LoseReply,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from contextvars import Context

    from rollwave.ports.balancer import Member, Traffic
    from rollwave.ports.executor import HostCommand
    from rollwave.testing.fake_executor import Moment
    from rollwave.testing.fake_host import FakeHost, Watch
    from rollwave.testing.faults import Fault
    from rollwave.testing.simulation.dice import Dice
    from rollwave.testing.simulation.loop import SimClock

T = TypeVar("T")

LONGEST_CALL_S: Final = 2.0
"""A call to a balancer takes effect within this time after it was sent, or never: see docs/simulator.md."""

DURATIONS_S: Final = {
    HostVerb.DOWNLOAD: 1.5,
    HostVerb.INSTALL: 1.0,
    HostVerb.VERIFY: 2.0,
    HostVerb.PROVE: 0.2,
    HostVerb.RESTORE: 2.0,
}


class SimExecutor(FakeExecutor):
    """
    A fleet whose carrier loses, doubles and delays.

    Args:
        clock: True time.
        dice: Chance.
        watch: Told of every verb that begins or ends.

    Attributes:
        trouble: Share of commands that meet a fault.
    """

    def __init__(self, *, clock: SimClock, dice: Dice, watch: Watch) -> None:
        super().__init__(
            clock=clock, durations_s=DURATIONS_S, reply_timeout_s=20.0, patience_s=60.0, gate=self._carry, watch=watch
        )
        self._dice = dice
        self.trouble = 0.0

    def host_now(self, instance: str) -> FakeHost:
        """Return a host as it is in this very step, without letting time pass on it."""
        return self._host(instance)

    def release_all(self) -> None:
        """Let everything end that hangs."""
        for name in self._hosts:
            self.release(name)

    async def _carry(self, _moment: Moment, _command: HostCommand) -> None:
        await asyncio.sleep(self._dice.jitter())

    def _next_fault(self, command: HostCommand, verb: HostVerb | None) -> Fault | None:
        scripted = super()._next_fault(command, verb)
        if scripted is not None or not self._dice.chance(self.trouble):
            return scripted
        faults: tuple[Fault, ...] = (
            LoseCommand(),
            LoseReply(),
            Unreachable(),
            *(
                (
                    DeliverLate(delay_s=self._dice.after(15)),
                    DeliverTwice(delay_s=self._dice.after(15)),
                    KillWorker(),
                    Hang(),
                    Fail(code="host.disk_full"),
                )
                if verb is not None
                else ()
            ),
        )
        return self._dice.pick(faults)


class SimBalancer(FakeBalancer):
    """
    A balancer behind a network: a call that was sent arrives even if its caller dies meanwhile.

    Args:
        clock: True time.
        dice: Chance.
        context: In which arriving calls run: not the caller's, whose turns may end.
        watch: Told of every member that a call took in or out.

    Attributes:
        trouble: Share of calls that meet a fault.
    """

    def __init__(self, clock: SimClock, *, dice: Dice, context: Context, watch: Callable[[str], None]) -> None:
        super().__init__(clock, watch=watch, poll_s=0.25)
        self._dice = dice
        self._context = context
        self.trouble = 0.0

    async def mark_down(self, member: Member, *, drain_timeout_s: float) -> bool:
        """Send the call."""
        return await self._send(super().mark_down(member, drain_timeout_s=drain_timeout_s))

    async def mark_up(self, member: Member) -> None:
        """Send the call."""
        await self._send(super().mark_up(member))

    async def read(self, members: Sequence[Member]) -> Mapping[str, Traffic]:
        """Send the call."""
        return await self._send(super().read(members))

    async def _send(self, call: Coroutine[object, object, T]) -> T:
        sent = asyncio.get_running_loop().create_task(call, context=self._context)
        sent.add_done_callback(lambda task: task.cancelled() or task.exception())
        answer = await asyncio.shield(sent)
        await asyncio.sleep(self._dice.jitter())
        return answer

    async def _arrive(self) -> BalancerFault | None:
        await asyncio.sleep(min(self._dice.jitter() * 4, LONGEST_CALL_S))
        if self._dice.chance(self.trouble):
            self.fail_next(self._dice.pick(tuple(BalancerFault)))
        return await super()._arrive()
