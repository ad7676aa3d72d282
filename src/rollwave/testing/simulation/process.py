"""Engine processes of a simulated world, and the post between them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from rollwave.domain.errors import RollwaveError
from rollwave.engine.effects import Effects
from rollwave.engine.service import Engine
from rollwave.testing.simulation.history import Violation
from rollwave.testing.simulation.loop import SimClock, Turns
from rollwave.testing.simulation.partition import CutBalancer, CutExecutor, Cuts, Side
from rollwave.testing.simulation.store import StoreDownError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollwave.ports.store import SliceKey
    from rollwave.testing.simulation.dice import Dice
    from rollwave.testing.simulation.world import World

P = ParamSpec("P")
T = TypeVar("T")

LEASE_S = 10.0


class StoreLink:
    """
    One process's connection to the store: takes its time, and at times fails, before the commit or after it.

    Args:
        world: Whose store.
        dice: Chance.
        process: Whose connection; None for people, who do not crash.
    """

    def __init__(self, world: World, dice: Dice, process: Process | None = None) -> None:
        self._world = world
        self._dice = dice
        self._process = process

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the store; see `rollwave.engine.offload.Offload`."""
        await asyncio.sleep(self._dice.jitter() + self._world.store_delay_s)
        self._check()
        result = function(*args, **kwargs)
        if self._process is not None:
            # The worst moment there is: it is committed, and what follows from it is still to be done.
            self._world.storm.strike(self._process)
        await asyncio.sleep(self._dice.jitter())
        # The connection may break after the commit: what was written stands, and nobody was told.
        self._check()
        return result

    def _check(self) -> None:
        self._world.check_store()
        if self._process is not None and self._process.cuts.has(Side.STORE):
            raise StoreDownError("the store cannot be reached from here")

    read = __call__


class Process:
    """
    One engine process: crashes at any step, comes back under another name, freezes and wakes up.

    Args:
        world: Where it runs.
        name: Of the machine that it runs on.
        skew_s: How far its clock is ahead of the true time, in seconds.
    """

    def __init__(self, world: World, *, name: str, skew_s: float) -> None:
        self._world = world
        self._clock = SimClock(world.loop, skew_s=skew_s)
        self._life = 0
        self.name = name
        self.cuts = Cuts()
        self.turns: Turns | None = None
        self._lives: list[Turns] = []
        self.run_slice: Callable[[SliceKey], Any] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it runs and gets turns."""
        return self.turns is not None and not self.turns.is_stopped

    def start(self) -> None:
        """Begin with nothing in memory, under a new name."""
        self._life += 1
        self.turns = Turns()
        self._lives.append(self.turns)
        owner = f"{self.name}.{self._life}"
        balancers = {name: CutBalancer(balancer, self.cuts) for name, balancer in self._world.balancers.items()}
        executor = CutExecutor(self._world.executor, self.cuts)
        link = StoreLink(self._world, self._world.dice(f"link/{owner}"), self)
        engine = Engine(
            self._world.store,
            effects=Effects(executors={"local": executor}, balancers=balancers, clock=self._clock),
            balancers=balancers,
            make_queue=self._enlist,
            clock=self._clock,
            offload=link,
            owner=owner,
            lease_s=LEASE_S,
        )
        self._world.history.add(owner, "starts")
        self._spawn(engine.run, what=f"{owner} engine")
        self._world.came_up()

    def restart(self) -> None:
        """Start after a crash, unless that has happened already."""
        if not self.is_up:
            self.start()

    def _enlist(self, run: Callable[[SliceKey], Any]) -> Post:
        self.run_slice = run
        return Post(self._world)

    def _spawn(self, work: Callable[[], Awaitable[None]], *, what: str) -> None:
        assert self.turns is not None, f"{self.name} was never started"
        task = self._world.loop.create_task(self._guarded(work, what=what), context=self.turns.context)
        self._world.keep(task)

    def stop(self) -> None:
        """Crash, or freeze: it gets no turns from now on."""
        if self.turns is not None:
            self._world.history.add(self.name, "gets no more turns")
            self.turns.is_stopped = True

    def wake(self) -> None:
        """Go on after a freeze, as if nothing had been."""
        if self.turns is not None and self.turns.is_stopped:
            self._world.history.add(self.name, "wakes up")
            self._world.loop.resume(self.turns)
            self._world.came_up()

    def bury(self) -> None:
        """Give every life its turns back, so that what is left of it can end; for when nobody looks any more."""
        for turns in self._lives:
            self._world.loop.resume(turns)

    def deliver(self, key: SliceKey) -> None:
        """Let the worker of this process hear of a slice."""
        if self.turns is not None and self.run_slice is not None:
            self._spawn(partial(self.run_slice, key), what=f"{self.name} slice {key}")

    async def _guarded(self, work: Callable[[], Awaitable[None]], *, what: str) -> None:
        try:
            await work()
        except* RollwaveError as broken:
            # A slice whose store failed ends here, and its lease runs out; an engine has to stand it.
            self._world.history.add(self.name, f"{what} broke: {broken.exceptions[0]}")
            if "engine" in what:
                self._world.violated(Violation("I19", f"{what} ended: {broken.exceptions[0]!r}"))
        except* Exception as broken:  # noqa: BLE001  # whatever else it is, it is a bug and has to be seen
            self._world.violated(Violation("BUG", f"{what}: {_first(broken)!r}"), cause=_first(broken))


def _first(group: BaseException) -> Exception:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    assert isinstance(group, Exception)
    return group


class Post:
    """
    The shared queue: a message is a hint, so this one loses, doubles, delays and reorders them.

    Args:
        world: Where the workers are.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice("post")

    async def send(self, key: SliceKey) -> None:
        """Let some worker hear of a slice, perhaps."""
        copies = 1
        delay_s = 0.0
        if self._world.post_is_bad:
            copies = self._dice.pick((0, 1, 1, 2))
            delay_s = self._dice.after(4)
        for _ in range(copies):
            worker = self._dice.pick(self._world.processes)
            self._world.loop.call_later(delay_s + self._dice.jitter(), worker.deliver, key, context=self._world.context)
        await asyncio.sleep(self._dice.jitter())

    async def close(self) -> None:
        """Nothing runs here: each process keeps its own slices."""
