"""
Laws of an engine whose database was restored from a backup: it may know less than its hosts, and does no harm by it.

Nobody has told it, and nobody has raised a counter.
"""

from __future__ import annotations

import asyncio
from copy import deepcopy

from rollwave.domain.commands import GiveUp
from rollwave.domain.model import Phase
from rollwave.ports.telemetry import UNHEARD
from tests.unit.telemetry.scene import INSTALL_S, Scene

UNTIL_OVER_S = 200
MIDWAY_S = INSTALL_S / 2
"""When the backup is made: the first targets are being installed."""


def deployment_of(store, deployment_id: int):
    return store.load(deployment_id).state.deployment


def versions(scene: Scene) -> set[str | None]:
    return {scene.executor.host(one.name).running for one in scene.world.store.fleet("shop").instances}


def test_what_was_followed_since_the_backup_is_not_taken_for_done():
    """
    A release was under way at the backup; it came to its end, and the next one brought another version.

    The restored engine goes on with the first one: hosts refuse it, it brakes, and no target counts as done. Once it is
    given up the next one, with the id of the lost one, is installed for real.
    """
    scene = Scene()
    goals = scene.goal, scene.world.add_package("3.0")

    async def story() -> None:
        engine = scene.engine(UNHEARD)
        running = asyncio.ensure_future(engine.run())
        await asyncio.sleep(0)
        first = scene.create(engine)
        await asyncio.sleep(MIDWAY_S)
        backup = deepcopy(scene.world.store)
        await asyncio.sleep(UNTIL_OVER_S)
        assert deployment_of(scene.world.store, first).phase is Phase.SUCCESS
        scene.goal = goals[1]
        lost = scene.create(engine)
        await asyncio.sleep(UNTIL_OVER_S)
        assert deployment_of(scene.world.store, lost).phase is Phase.SUCCESS
        assert versions(scene) == {"3.0"}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        scene.world.store = backup
        engine = scene.engine(UNHEARD, owner="restored")
        running = asyncio.ensure_future(engine.run())
        await asyncio.sleep(UNTIL_OVER_S)
        assert deployment_of(backup, first).brake is not None
        assert {target.failure.code for target in backup.load(first).state.targets.values() if target.failure} == {
            "host.superseded"
        }
        assert versions(scene) == {"3.0"}

        engine.releases.act(first, GiveUp(actor="ann"), now=scene.clock.now())
        await asyncio.sleep(UNTIL_OVER_S)
        scene.goal = goals[0]
        assert scene.create(engine) == lost
        await asyncio.sleep(UNTIL_OVER_S)
        assert deployment_of(backup, lost).phase is Phase.SUCCESS
        assert versions(scene) == {"2.0"}

    scene.run(story())
