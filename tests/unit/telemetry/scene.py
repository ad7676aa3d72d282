"""A release by the real engine, in memory and in virtual time, with somebody listening."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rollwave.domain.config import DeploymentConfig
from rollwave.domain.model import Kind, Phase
from rollwave.engine.effects import Effects
from rollwave.engine.service import Engine
from rollwave.ports.executor import HostVerb
from rollwave.ports.telemetry import UNHEARD
from rollwave.queue.embedded import EmbeddedQueue
from rollwave.testing.fake_balancer import FakeBalancer
from rollwave.testing.fake_executor import FakeExecutor
from rollwave.testing.simulation.loop import SimClock, VirtualLoop
from tests.contract.store.worlds import MemoryWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollwave.domain.model import PackageRef
    from rollwave.ports.telemetry import Telemetry
    from tests.contract.store.worlds import World

INSTALL_S = 3.0
VERIFY_S = 20.0


class InPlace:
    """Calls the store where it is called."""

    async def __call__(self, function, *args, **kwargs):
        return function(*args, **kwargs)

    read = __call__


class Scene:
    """
    A group of four, at most two of them at a time; installing takes 3 s and verifying 20.

    Closed with its loop: a test runs one story.

    Args:
        world: Where all of it is; in memory by default.
    """

    def __init__(self, world: World | None = None) -> None:
        self.loop = VirtualLoop()
        self.clock = SimClock(self.loop)
        self.world = world or MemoryWorld()
        self.world.add_group("shop")
        self.ids = [self.world.add_instance("shop", f"s{number}") for number in range(4)]
        self.goal = self.world.add_package("2.0")
        durations_s = {HostVerb.INSTALL: INSTALL_S, HostVerb.VERIFY: VERIFY_S}
        self.executor = FakeExecutor(clock=self.clock, durations_s=durations_s)
        members = [one.member for one in self.world.store.wishes()]
        self.balancers = {"lb": FakeBalancer(self.clock, members)}

    def engine(
        self,
        telemetry: Telemetry,
        *,
        make_queue=EmbeddedQueue,
        executor=None,
        balancers=None,
        offload=None,
        owner="ann",
    ) -> Engine:
        balancers = balancers or self.balancers
        effects = Effects(executors={"local": executor or self.executor}, balancers=balancers, clock=self.clock)
        return Engine(
            self.world.store,
            effects=effects,
            balancers=balancers,
            make_queue=make_queue,
            clock=self.clock,
            offload=offload or InPlace(),
            owner=owner,
            telemetry=telemetry,
        )

    def create(self, engine: Engine) -> int:
        config = DeploymentConfig(canary_count=0, prestage=False, max_unavailable_percent=50)
        planned = engine.releases.plan("shop", kind=Kind.ROLLOUT, config=config, goal=self.goal, actor="ann")
        return engine.releases.create(planned, now=self.clock.now())

    def run(self, story) -> None:
        """Run a coroutine to its end, and whatever it has begun as long as that takes."""
        try:
            self.loop.run_until_complete(asyncio.wait_for(story, 3600))
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(_a_turn())
            self.loop.close()

    def releases(self, following: PackageRef, *, between: Callable[[], None]) -> list[Phase]:
        """Run an engine for a release and *following*; and *between* midway in the first. Return how they ended."""
        ended = []

        async def story() -> None:
            engine = self.engine(UNHEARD)
            running = asyncio.ensure_future(engine.run())
            await asyncio.sleep(0)
            first = self.create(engine)
            await asyncio.sleep(VERIFY_S)
            assert self.world.store.load(first).state.deployment.phase is Phase.ROLLING_OUT
            between()
            await asyncio.sleep(200)
            self.goal = following
            second = self.create(engine)
            await asyncio.sleep(200)
            ended.extend(self.world.store.load(one).state.deployment.phase for one in (first, second))
            running.cancel()

        self.run(story())
        return ended

    def release(self, telemetry: Telemetry) -> int:
        """Create a deployment and run an engine for 200 s; return its id."""
        created = []

        async def story() -> None:
            engine = self.engine(telemetry)
            running = asyncio.ensure_future(engine.run())
            await asyncio.sleep(0)
            created.append(self.create(engine))
            await asyncio.sleep(200)
            running.cancel()

        self.run(story())
        return created[0]


async def _a_turn() -> None:
    await asyncio.sleep(0)
