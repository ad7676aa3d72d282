"""Laws of a worker that was away: what it had is another's by now."""

from __future__ import annotations

import asyncio

from rollwave.domain.model import Phase
from rollwave.ports.telemetry import UNHEARD
from tests.unit.telemetry.scene import InPlace, Scene

AWAY_S = 150.0
"""Long enough for another worker to bring the whole release to its end."""


class Late(InPlace):
    """A store that does the first write at once, and whose answers come much later: the process hangs meanwhile."""

    def __init__(self) -> None:
        self.has_hung = False
        self._answers = asyncio.Event()
        self._answers.set()

    async def __call__(self, function, *args, **kwargs):
        await self._answers.wait()
        done = function(*args, **kwargs)
        if function.__name__ == "_commit" and not self.has_hung:
            self.has_hung = True
            self._answers.clear()
            asyncio.get_running_loop().call_later(AWAY_S, self._answers.set)
            await self._answers.wait()
        return done

    read = __call__


class Noted:
    """A balancer that notes who was moved."""

    def __init__(self, balancer) -> None:
        self._balancer = balancer
        self.moved: list[str] = []

    async def read(self, members):
        return await self._balancer.read(members)

    async def mark_down(self, member, *, drain_timeout_s):
        self.moved.append(member.name)
        return await self._balancer.mark_down(member, drain_timeout_s=drain_timeout_s)

    async def mark_up(self, member):
        self.moved.append(member.name)
        return await self._balancer.mark_up(member)


def test_a_worker_that_wakes_up_moves_nobody():
    """It was about to take targets out, on record; they are back in by now, and a balancer knows no fence (I21)."""
    scene, offload = Scene(), Late()
    balancer = Noted(scene.balancers["lb"])

    async def story() -> None:
        sleeper = scene.engine(UNHEARD, owner="ann", offload=offload, balancers={"lb": balancer})
        running = [asyncio.ensure_future(sleeper.run())]
        await asyncio.sleep(0)
        deployment = scene.create(sleeper)
        await asyncio.sleep(1)
        assert offload.has_hung
        running.append(asyncio.ensure_future(scene.engine(UNHEARD, owner="bob").run()))
        await asyncio.sleep(AWAY_S - 10)
        assert scene.world.store.load(deployment).state.deployment.phase is Phase.SUCCESS
        await asyncio.sleep(30)
        for task in running:
            task.cancel()

    scene.run(story())

    assert balancer.moved == []
