"""Web processes, through which people act: one that dies tells nobody what it had committed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, TypeVar

from rollwave.domain.errors import RollwaveError
from rollwave.engine.releases import Releases
from rollwave.testing.simulation.process import StoreLink
from rollwave.testing.simulation.scenario import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollwave.testing.simulation.world import World

T = TypeVar("T")

DEATHS: Final = 0.1
"""Share of requests whose process dies or freezes with them in hand, in worlds in which that happens."""

COMMITS: Final = 3
"""A process dies before it does anything, right after one of so many commits, or before it answers."""


class WebDiedError(Exception):
    """The connection broke before an answer came."""


class Web:
    """
    The web process that serves one person, and the one after it.

    Args:
        world: Where.
        name: Of the group that the person works on.
        link: The connection to the store.

    Attributes:
        busy_until: When no process that froze has a request in hand any more, in virtual seconds.
    """

    def __init__(self, world: World, name: str, link: StoreLink) -> None:
        self._world = world
        self._name = f"web of {name}"
        self._dice = world.dice(f"web/{name}")
        self._link = link
        self._releases = Releases(world.store)
        self.busy_until = 0.0

    async def ask(self, use: Callable[[Releases], T], *, may_freeze: bool = False) -> T:
        """
        Let *use* be made of the use cases; return its answer.

        Args:
            use: The request.
            may_freeze: Whether a process may wake up with it in hand long after its client has given it up.

        Raises:
            WebDiedError: If the process died or froze. Whether anything was done is unknown.
            StoreDownError: If the store did not answer.
            RollwaveError: What *use* raises.
        """
        scenario = self._world.scenario
        is_mortal = Trouble.WEB in scenario.troubles and not self._world.storm.is_over
        if not is_mortal or not self._dice.chance(DEATHS):
            return await self._link(use, self._releases)
        if may_freeze and self._dice.chance(0.3):
            await self._freeze(use)
        else:
            await self._die(use)
        # Whoever comes next begins with nothing in memory.
        self._releases = Releases(self._world.store)
        raise WebDiedError

    async def _die(self, use: Callable[[Releases], T]) -> None:
        commit_count = self._dice.whole(0, COMMITS)
        self._world.history.add(self._name, f"is to die after {commit_count} commits")
        if commit_count:
            # What it would have answered dies with it.
            with contextlib.suppress(RollwaveError, WebDiedError):
                await self._link(self._mortal(use, commit_count), self._releases)

    def _mortal(self, use: Callable[[Releases], T], commit_count: int) -> Callable[[Releases], T]:
        left = commit_count

        def after_commit() -> None:
            nonlocal left
            left -= 1
            if not left:
                raise WebDiedError

        def mortal(releases: Releases) -> T:
            store = self._world.store
            usual, store.after_commit = store.after_commit, after_commit
            try:
                return use(releases)
            finally:
                store.after_commit = usual

        return mortal

    async def _freeze(self, use: Callable[[Releases], T]) -> None:
        asleep_s = self._dice.after(15)
        self.busy_until = max(self.busy_until, self._world.loop.time() + asleep_s)
        self._world.history.add(self._name, f"freezes for {asleep_s:.1f} s")
        self._world.spawn(self._wake(use, self._releases, asleep_s))
        await asyncio.sleep(self._dice.between(0.5, 5))

    async def _wake(self, use: Callable[[Releases], T], releases: Releases, asleep_s: float) -> None:
        await asyncio.sleep(asleep_s)
        self._world.history.add(self._name, "wakes up, and does what nobody waits for")
        with contextlib.suppress(RollwaveError):
            await StoreLink(self._world, self._dice)(use, releases)
