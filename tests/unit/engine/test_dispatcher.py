"""Laws of looking again: what nobody was told of is decided all the same, and what stands still costs nothing."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from rollwave.domain.commands import FleetChanged, TimeCame
from rollwave.domain.config import DeploymentConfig
from rollwave.domain.model import Kind
from rollwave.domain.phases import Phase
from rollwave.engine.dispatcher import LOOK_AGAIN_S, POLL_S
from rollwave.ports.telemetry import UNHEARD
from rollwave.queue.embedded import EmbeddedQueue
from rollwave.testing.fake_balancer import FakeBalancer
from tests.unit.telemetry.scene import Scene

NOTICED_S = 2 * LOOK_AGAIN_S + 2 * POLL_S
"""A change is seen at the next look at the latest, and that nothing has moved since at the one after it."""

HEALED_S = 100
"""When the deployment of a test can be decided again."""


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


def create(scene, engine, group) -> int:
    """Record a deployment as a web process does: nobody here was told of it."""
    config = DeploymentConfig(canary_count=0, prestage=False)
    planned = engine.releases.plan(group, kind=Kind.ROLLOUT, config=config, goal=scene.goal, actor="ann")
    return scene.world.store.create(planned, at=scene.clock.now())


def phase_of(scene, deployment_id) -> Phase:
    return scene.world.store.load(deployment_id).state.deployment.phase


@pytest.fixture
def two_groups(scene):
    """A scene with a second group."""
    scene.world.add_group("till")
    scene.world.add_instance("till", "t0")
    scene.balancers["lb"] = FakeBalancer(scene.clock, [one.member for one in scene.world.store.wishes()])
    return scene


def test_one_that_cannot_be_decided_stops_no_other(two_groups):
    """The others go on; it is told once and not at every poll, and goes on once it can be decided."""
    scene = two_groups
    engine = scene.engine(UNHEARD)
    act, tried_at, ids = engine.releases.act, [], {}

    def failing(deployment_id, event, **named):
        if deployment_id == ids["shop"] and scene.loop.time() < HEALED_S:
            tried_at.append(scene.loop.time())
            raise ValueError("its state cannot be read")
        return act(deployment_id, event, **named)

    engine.releases.act = failing

    async def story() -> None:
        running = asyncio.ensure_future(engine.run())
        ids["shop"] = create(scene, engine, "shop")
        await asyncio.sleep(POLL_S)
        ids["till"] = create(scene, engine, "till")
        await asyncio.sleep(HEALED_S - 10)
        assert phase_of(scene, ids["till"]) is Phase.SUCCESS
        await asyncio.sleep(300)
        running.cancel()

    with capture_logs() as lines:
        scene.run(story())

    assert phase_of(scene, ids["shop"]) is Phase.SUCCESS
    told = [one["event"] for one in lines if one.get("deployment") == ids["shop"]]
    assert [one for one in told if one != "stage_failed"][:2] == ["dispatch_failed", "trouble_is_over"]
    assert len(tried_at) <= 2 * HEALED_S / POLL_S


def test_a_message_that_cannot_be_sent_keeps_no_other_back(two_groups):
    """Whatever a queue raises, the next slice is sent in the same round."""
    scene, sent_at = two_groups, []

    class Broken(EmbeddedQueue):
        async def send(self, key) -> None:
            sent_at.append(scene.loop.time())
            if len(sent_at) == 1:
                raise ValueError("no such exchange")
            await super().send(key)

    async def story() -> None:
        engine = scene.engine(UNHEARD, make_queue=Broken)
        for group in "shop", "till":
            engine.releases.act(create(scene, engine, group), TimeCame(), now=scene.clock.now())
        running = asyncio.ensure_future(engine.run())
        await asyncio.sleep(200)
        running.cancel()

    scene.run(story())
    assert sent_at[0] == sent_at[1] < sent_at[2]
