from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rollwave.balancers.pool_writer import Change, PoolWriter
from rollwave.ports.balancer import BalancerUnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.unit.balancers.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


def change(number: int, *, present: bool = True) -> Change:
    return Change(dial=f"host-{number}:80", present=present)


class Target:
    """Records what is written, as soon as it is let go."""

    def __init__(self) -> None:
        self.writes: list[list[Change]] = []
        self.fails = False
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def write(self, changes: Sequence[Change]) -> None:
        self.writes.append(list(changes))
        self.began.set()
        await self.go.wait()
        if self.fails:
            raise BalancerUnknownError("silent")


async def test_changes_during_a_write_share_the_next(clock: VirtualClock) -> None:
    """What arrives together is written together; what arrives during a write goes together in the next."""
    target = Target()
    writer = PoolWriter(target.write, clock=clock, gather_s=0.01)
    early = [asyncio.create_task(writer.put(change(number))) for number in range(3)]
    await target.began.wait()
    late = [asyncio.create_task(writer.put(change(number))) for number in range(3, 6)]
    await asyncio.sleep(0)
    target.go.set()

    await asyncio.gather(*early, *late)

    assert target.writes == [[change(0), change(1), change(2)], [change(3), change(4), change(5)]]


async def test_order_is_kept(clock: VirtualClock) -> None:
    """Two changes of one member stay in their order, so that the later one wins."""
    target = Target()
    target.go.set()
    writer = PoolWriter(target.write, clock=clock, gather_s=0.01)

    await asyncio.gather(writer.put(change(1, present=False)), writer.put(change(1, present=True)))

    assert target.writes == [[change(1, present=False), change(1, present=True)]]


async def test_failure_reaches_every_change_of_the_write(clock: VirtualClock) -> None:
    """A failed write fails for all whose change it carried, and is not tried again behind their back."""
    target = Target()
    target.go.set()
    target.fails = True
    writer = PoolWriter(target.write, clock=clock, gather_s=0.01)

    errors = await asyncio.gather(*(writer.put(change(number)) for number in range(5)), return_exceptions=True)

    assert [type(error) for error in errors] == [BalancerUnknownError] * 5
    assert len(target.writes) == 1


async def test_cancelled_writer_takes_nobody_with_it(clock: VirtualClock) -> None:
    """Where the coroutine that writes for all is cancelled, the next in line writes for the rest."""
    target = Target()
    writer = PoolWriter(target.write, clock=clock, gather_s=0.01)
    first, *others = (asyncio.create_task(writer.put(change(number))) for number in range(3))
    await target.began.wait()

    first.cancel()
    target.go.set()
    await asyncio.gather(*others)

    assert first.cancelled()
    assert target.writes[1:] == [[change(1), change(2)]]
