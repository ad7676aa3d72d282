"""Laws of looking again: what nobody was told of is decided all the same, and what stands still costs nothing."""

from __future__ import annotations

import asyncio

import pytest

from rollwave.domain.commands import FleetChanged
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.model import Kind
from rollwave.engine.dispatcher import LOOK_AGAIN_S, POLL_S
from rollwave.ports.telemetry import UNHEARD
from tests.unit.telemetry.scene import Scene

NOTICED_S = 2 * LOOK_AGAIN_S + 2 * POLL_S
"""A change is seen at the next look at the latest, and that nothing has moved since at the one after it."""


@pytest.fixture
def scene():
    return Scene()


def play(scene: Scene, story) -> list[float]:
    """Play *story* with a release whose canary waits for a person; return when it was decided again, in seconds."""
    engine = scene.engine(UNHEARD)
    act, decided_at = engine.releases.act, []

    def noting(deployment_id, event, **named):
        if isinstance(event, FleetChanged):
            decided_at.append(scene.loop.time())
        return act(deployment_id, event, **named)

    engine.releases.act = noting

    async def whole() -> None:
        running = asyncio.ensure_future(engine.run())
        await asyncio.sleep(0)
        config = DeploymentConfig(canary_count=1, prestage=False)
        planned = engine.releases.plan("shop", kind=Kind.ROLLOUT, config=config, goal=scene.goal, actor="ann")
        engine.releases.create(planned, now=scene.clock.now())
        await asyncio.sleep(100)
        decided_at.append(-1)
        await story()
        running.cancel()

    scene.run(whole())
    return decided_at[decided_at.index(-1) + 1 :]


def test_what_stands_still_is_decided_again_once(scene):
    """A thousand releases that wait for somebody keep no worker from those that move."""

    async def story() -> None:
        await asyncio.sleep(1000)

    assert play(scene, story) == []


def test_a_change_that_nobody_told_of_is_decided(scene):
    """Who raised this hold died before he could say so."""
    changed_at = []

    async def story() -> None:
        changed_at.append(scene.loop.time())
        scene.world.store.set_hold(scene.ids[3], hold=True, actor="ann", reason="disk", at=scene.clock.now())
        await asyncio.sleep(1000)

    # The decision takes the target out, which is a change as well.
    decided_at, *_its_own_change = play(scene, story)
    assert decided_at - changed_at[0] <= NOTICED_S


def test_what_could_not_be_decided_is_tried_again(scene):
    """A store that is down for a moment."""
    failures = []

    async def story() -> None:
        load = scene.world.store.load

        def failing(*arguments, **named):
            scene.world.store.load = load
            failures.append(scene.loop.time())
            raise OSError("gone")

        scene.world.store.set_hold(scene.ids[3], hold=True, actor="ann", reason="disk", at=scene.clock.now())
        scene.world.store.load = failing
        await asyncio.sleep(1000)

    failed_at, decided_at, *_its_own_change = play(scene, story)
    assert failures == [failed_at]
    assert decided_at - failed_at <= NOTICED_S
