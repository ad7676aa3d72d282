"""What goes wrong, and when: every kind of trouble of a scenario comes and goes until the storm is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rollwave.domain.errors import DeploymentActiveError
from rollwave.testing.simulation.partition import Side
from rollwave.testing.simulation.process import LEASE_S
from rollwave.testing.simulation.scenario import SITES, Place, Trouble

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollwave.testing.simulation.process import Process
    from rollwave.testing.simulation.world import World

COMMAND_TROUBLE: Final = 0.08
BALANCER_TROUBLE: Final = 0.15
STRIKES: Final = 0.01
"""Share of an engine's calls to the store after which it crashes or freezes at once."""

LEAST: Final = 2
"""Instances that a group keeps."""

TRIES: Final = 400
"""How often it is tried to remove an instance, until the release of its group is over."""


class Storm:
    """
    Brings trouble.

    Args:
        world: On which.

    Attributes:
        is_over: Whether nothing goes wrong any more.
        disturbed_at: When something that could delay the engine was last going wrong, in virtual seconds.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice("storm")
        self._strikes = world.dice("strikes")
        self._broken = 0
        self._quiet_since = 0.0
        self.is_over = False

    @property
    def disturbed_at(self) -> float:
        """When something that could delay the engine was last going wrong: now, while it still is."""
        if self._broken or not all(process.is_up for process in self._world.processes):
            self._quiet_since = self._world.loop.time()
        return self._quiet_since

    def _break(self) -> None:
        self._broken += 1

    def _mend(self) -> None:
        self._broken -= 1
        self._quiet_since = self._world.loop.time()

    async def rage(self) -> None:
        """Let things go wrong, then put everything right."""
        kinds: dict[Trouble, Callable[[], Awaitable[None]]] = {
            Trouble.CRASH: self._crash,
            Trouble.FREEZE: self._freeze,
            Trouble.STORE: self._store_fails,
            Trouble.HOST_DOWN: self._host_goes_down,
            Trouble.BALANCER_DOWN: self._balancer_goes_down,
            Trouble.FORGET: self._balancer_forgets,
            Trouble.PARTITION: self._process_is_cut_off,
            Trouble.POWER: self._server_loses_power,
            Trouble.LEAVE: self._somebody_leaves,
            Trouble.HEALTH: self._member_flaps,
            Trouble.HOST_CLOCK: self._host_clocks_jump,
        }
        scenario = self._world.scenario
        if scenario.troubles:
            # All that goes wrong by chance counts as one disturbance, for as long as it may.
            self._break()
        self._world.post_is_bad = Trouble.QUEUE in scenario.troubles
        self._world.executor.trouble = COMMAND_TROUBLE if Trouble.COMMAND in scenario.troubles else 0.0
        for balancer in self._world.balancers.values():
            balancer.trouble = BALANCER_TROUBLE if Trouble.BALANCER_REPLY in scenario.troubles else 0.0
        async with asyncio.TaskGroup() as group:
            for kind in sorted(scenario.troubles & set(kinds), key=lambda kind: kind.value):
                group.create_task(self._come_and_go(kinds[kind]))
        wait_s = scenario.storm_s - self._world.loop.time()
        if scenario.troubles and wait_s > 0:
            await asyncio.sleep(wait_s)
        self._calm()
        if scenario.troubles:
            self._mend()
        self.is_over = True
        self._world.history.add("storm", "is over")

    async def _come_and_go(self, trouble: Callable[[], Awaitable[None]]) -> None:
        mean_s = self._dice.pick((3.0, 10.0, 30.0))
        while True:
            await asyncio.sleep(self._dice.after(mean_s))
            if self._world.loop.time() > self._world.scenario.storm_s:
                return
            self._break()
            await trouble()
            self._mend()

    def strike(self, process: Process) -> None:
        """At times let a process crash or freeze right after a call to the store."""
        troubles = self._world.scenario.troubles
        if self.is_over or not process.is_up or not self._strikes.chance(STRIKES):
            return
        kinds = sorted(troubles & {Trouble.CRASH, Trouble.FREEZE}, key=lambda kind: kind.value)
        if not kinds:
            return
        process.stop()
        if self._strikes.pick(kinds) is Trouble.CRASH:
            self._world.loop.call_later(self._strikes.after(4), process.restart, context=self._world.context)
        else:
            asleep_s = LEASE_S * self._strikes.between(0.8, 4)
            self._world.loop.call_later(asleep_s, process.wake, context=self._world.context)

    def _calm(self) -> None:
        self._world.post_is_bad = False
        self._world.executor.trouble = 0.0
        for name, balancer in self._world.balancers.items():
            balancer.trouble = 0.0
            balancer.is_down = False
            self._world.oracle.answers_again(name)
        self._world.executor.release_all()

    async def _crash(self) -> None:
        process = self._dice.pick(self._world.processes)
        process.stop()
        await asyncio.sleep(self._dice.after(4))
        process.restart()

    async def _freeze(self) -> None:
        process = self._dice.pick(self._world.processes)
        process.stop()
        await asyncio.sleep(LEASE_S * self._dice.between(0.2, 4))
        process.wake()

    async def _store_fails(self) -> None:
        self._world.history.add("storm", "store trouble")
        if self._dice.chance(0.5):
            self._world.store_is_down = True
        else:
            self._world.store_delay_s = self._dice.between(0.5, 6)
        await asyncio.sleep(self._dice.after(5))
        self._world.store_is_down = False
        for name in self._world.balancers:
            self._world.oracle.answers_again(name)
        self._world.store_delay_s = 0.0
        self._world.history.add("storm", "store works")

    async def _process_is_cut_off(self) -> None:
        process, side = self._dice.pick(self._world.processes), self._dice.pick(tuple(Side))
        process.cuts.begin(side)
        self._world.history.add("storm", f"{process.name} is cut off from the {side.value}")
        await asyncio.sleep(self._dice.after(15))
        process.cuts.end(side)
        for name in self._world.balancers:
            self._world.oracle.answers_again(name)
        self._world.history.add("storm", f"{process.name} reaches the {side.value}")

    async def _host_goes_down(self) -> None:
        server = self._world.oracle.server_of(self._dice.pick(self._world.oracle.names))
        beside = self._on(server)
        for one in beside:
            self._world.executor.host(one).is_reachable = False
        self._world.history.add("storm", f"server {server} is down")
        if self._dice.chance(0.2):
            # For ever: an operator has to take it out of the group.
            await asyncio.sleep(self._dice.between(5, 60))
            await self._world.operators[0].set_offline(server, offline=True)
            return
        await asyncio.sleep(self._dice.after(20))
        for one in beside:
            self._world.executor.host(one).is_reachable = True
        self._world.history.add("storm", f"server {server} is back")

    async def _server_loses_power(self) -> None:
        server = self._world.oracle.server_of(self._dice.pick(self._world.oracle.names))
        hosts = [self._world.executor.host(one) for one in self._on(server)]
        for host in hosts:
            host.lose_power(switched=self._dice.chance(0.5))
        self._world.history.add("storm", f"server {server} loses power")
        await asyncio.sleep(self._dice.after(20))
        for host in hosts:
            host.boot()
        self._world.history.add("storm", f"server {server} has booted")

    async def _somebody_leaves(self) -> None:
        if self._dice.chance(0.5):
            await self._server_leaves()
        else:
            await self._instance_leaves()

    async def _server_leaves(self) -> None:
        """Down for so long that an operator takes it out of its groups, and back when nobody thinks of it."""
        server = self._world.oracle.server_of(self._dice.pick(self._world.oracle.names))
        hosts = [self._world.executor.host(name) for name in self._on(server)]
        operator = self._world.operators[0]
        for host in hosts:
            host.is_reachable = False
        self._world.history.add("storm", f"server {server} is down, and marked offline soon")
        await asyncio.sleep(self._dice.after(10))
        await operator.set_offline(server, offline=True)
        await asyncio.sleep(self._dice.after(30))
        is_early = self._dice.chance(0.3)
        if is_early:
            await operator.set_offline(server, offline=False)
            await asyncio.sleep(self._dice.after(5))
        for host in hosts:
            host.is_reachable = True
        self._world.history.add("storm", f"server {server} is back")
        if not is_early:
            await asyncio.sleep(self._dice.after(5))
            await operator.set_offline(server, offline=False)

    async def _instance_leaves(self) -> None:
        """Removed from its group as soon as that is allowed; at times it is registered again later, as a new one."""
        name = self._dice.pick(self._world.oracle.names)
        group = name.split("/", maxsplit=1)[0]
        server = self._world.oracle.server_of(name)
        for _ in range(TRIES):
            if len(self._world.store.fleet(group).instances) <= LEAST or name not in self._world.oracle.names:
                return
            try:
                self._world.remove_instance(name)
                break
            except DeploymentActiveError:
                await asyncio.sleep(0.25)
        else:
            return
        if self._dice.chance(0.5):
            await asyncio.sleep(10 + self._dice.after(10))
            site = SITES[int(server.removeprefix("s")) % len(SITES)]
            self._world.add_instance(group, Place(server=server, site=site, port=int(name.rsplit(":", maxsplit=1)[1])))
            self._world.history.add("fleet", f"{name} is registered again")

    async def _member_flaps(self) -> None:
        """A balancer's own check finds one member well and ill by turns, whatever its host runs."""
        name = self._dice.pick(self._world.oracle.names)
        balancer = self._world.balancers[name.split("/", maxsplit=1)[0]]
        for _ in range(self._dice.whole(1, 6)):
            balancer.unhealthy.add(name)
            self._world.history.add("storm", f"{name} fails its balancer's check")
            await asyncio.sleep(self._dice.after(4))
            balancer.unhealthy.discard(name)
            self._world.history.add("storm", f"{name} passes its balancer's check")
            await asyncio.sleep(self._dice.after(1))

    async def _host_clocks_jump(self) -> None:
        """The clocks of some servers are off for a while; most by little, some by more than any deadline allows."""
        servers = sorted({self._world.oracle.server_of(name) for name in self._world.oracle.names})
        off = self._dice.some(servers, self._dice.whole(1, len(servers)))
        for server in off:
            skew_s = self._dice.between(-5, 5) if self._dice.chance(0.6) else self._dice.between(-90, 90)
            self._set_clocks(server, skew_s)
            self._world.history.add("storm", f"the clock of server {server} is {skew_s:+.1f} s off")
        await asyncio.sleep(self._dice.after(30))
        for server in off:
            self._set_clocks(server, 0.0)
        self._world.history.add("storm", "the clocks of servers are right")

    def _set_clocks(self, server: str, skew_s: float) -> None:
        for name in self._on(server):
            self._world.executor.host(name).skew_s = skew_s

    def _on(self, server: str) -> list[str]:
        return [one for one in self._world.oracle.names if self._world.oracle.server_of(one) == server]

    async def _balancer_goes_down(self) -> None:
        name = self._dice.pick(sorted(self._world.balancers))
        balancer = self._world.balancers[name]
        balancer.is_down = True
        self._world.history.add("storm", f"balancer of {name} is down")
        await asyncio.sleep(self._dice.after(15))
        balancer.is_down = False
        self._world.oracle.answers_again(name)
        self._world.history.add("storm", f"balancer of {name} works")

    async def _balancer_forgets(self) -> None:
        name = self._dice.pick(sorted(self._world.balancers))
        self._world.history.add("storm", f"balancer of {name} restarts and forgets")
        self._world.balancers[name].forget()
        self._world.oracle.forgot(name)
        await asyncio.sleep(0)
