"""One simulated world: store, hosts, balancers, engine processes and operators, made from a seed and run to its end."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from contextvars import copy_context
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from rollwave.domain.config import DeploymentConfig
from rollwave.domain.model import Instance, PackageRef
from rollwave.ports.balancer import Member
from rollwave.ports.packages import SignedPackage
from rollwave.store.memory import GroupRow
from rollwave.testing.simulation.dice import Dice
from rollwave.testing.simulation.fleet import SimBalancer, SimExecutor
from rollwave.testing.simulation.history import History, Violation
from rollwave.testing.simulation.loop import SimClock, VirtualLoop
from rollwave.testing.simulation.operator import Operator
from rollwave.testing.simulation.oracle import Oracle
from rollwave.testing.simulation.process import Process
from rollwave.testing.simulation.scenario import Trouble
from rollwave.testing.simulation.store import StoreDownError, WatchedStore
from rollwave.testing.simulation.storm import Storm

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollwave.testing.simulation.scenario import GroupPlan, Place, Scenario

LONGEST_S = 3 * 3600.0
"""In virtual seconds, when every world must have come to its end (I19)."""

GOOD_VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5")
BAD_VERSIONS = ("6.6", "6.7")


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """
    What became of a world.

    Attributes:
        seed: Which world.
        violation: The first law that was broken; None where all held.
        cause: Traceback of the bug behind it, where it is one; empty elsewhere.
        release_count: Deployments that were created.
        seconds: Virtual time that passed.
        event_count: Events of its history.
        digest: Hash over them.
        last: The last of them, as lines.
    """

    seed: int
    violation: Violation | None
    cause: str
    release_count: int
    seconds: float
    event_count: int
    digest: str
    last: tuple[str, ...]


class World:
    """
    Everything that there is.

    Args:
        scenario: What it is made from.
        show: Called with every event as a line.
    """

    def __init__(self, scenario: Scenario, *, show: Callable[[str], None] | None = None) -> None:
        self.scenario = scenario
        self.loop = VirtualLoop()
        self.context = copy_context()
        self.clock = SimClock(self.loop)
        self.history = History(self.loop.time, show=show)
        self.store = WatchedStore()
        self.oracle = Oracle(self)
        self.store.oracle = self.oracle
        self.executor = SimExecutor(clock=self.clock, dice=self.dice("executor"), watch=self.oracle.host_worked)
        for version in BAD_VERSIONS:
            self.executor.break_version(version)
        self._clients = self.dice("clients")
        self.balancers: dict[str, SimBalancer] = {}
        self.store_delay_s = 0.0
        self.store_is_down = False
        self.post_is_bad = False
        self._tasks: list[asyncio.Task[None]] = []
        self._violation: tuple[Violation, BaseException | None] | None = None
        self._next_instance = 1
        packages = [
            PackageRef(id=number, version=version)
            for number, version in enumerate((*GOOD_VERSIONS, *BAD_VERSIONS), start=1)
        ]
        self.good_packages, self.bad_packages = packages[: len(GOOD_VERSIONS)], packages[len(GOOD_VERSIONS) :]
        for package in packages:
            self.store.add_package(package.id, _package(package.version))
        for plan in scenario.groups:
            self._add_group(plan)
        skew = self.dice("skew")
        self.processes = tuple(
            Process(
                self,
                name=f"worker{number}",
                skew_s=skew.between(-0.5, 0.5) if Trouble.SKEW in scenario.troubles else 0.0,
            )
            for number in range(1, scenario.process_count + 1)
        )
        self.operators = tuple(Operator(self, plan) for plan in scenario.groups)
        self.storm = Storm(self)

    def dice(self, name: str) -> Dice:
        """Return a stream of chance of this world."""
        return Dice(self.scenario.seed, name)

    # --- what there is ---

    def _add_group(self, plan: GroupPlan) -> None:
        name = plan.name
        self.balancers[name] = SimBalancer(
            self.clock, dice=self.dice(f"balancer/{name}"), context=self.context, watch=self.oracle.traffic_changed
        )
        self.store.add_group(
            GroupRow(
                name=name,
                app="shop",
                config=DeploymentConfig(),
                balancer=name,
                drain_timeout_s=12,
                canaries=tuple(self._next_instance + index for index in plan.canary_indexes),
            )
        )
        for place in plan.places:
            self.add_instance(name, place)

    def add_instance(self, group: str, place: Place) -> None:
        """Register one more instance, which has never served."""
        number = self._next_instance
        self._next_instance += 1
        name = f"{group}/{place.server}:{place.port}"
        self.store.add_instance(
            Instance(id=number, name=name, server=place.server, site=place.site, new=True), group=group, port=place.port
        )
        member = Member(pool=group, name=name, address=place.server, port=place.port)
        self.balancers[group].add(member, is_in=False)
        self.oracle.know(number, name, group, place.server)

    def remove_instance(self, name: str) -> None:
        """Take an instance out of the fleet and of its balancer; raises DeploymentActiveError while it may not go."""
        group = name.split("/", maxsplit=1)[0]
        (one,) = [one.id for one in self.store.fleet(group).instances if one.name == name]
        self.store.remove_instance(one)
        self.oracle.forget(name)
        self.balancers[group].remove(name)

    # --- what happens to it ---

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a task until the end, also of a process that has crashed."""
        self._tasks.append(task)

    def check_store(self) -> None:
        """Raise where the store is down."""
        if self.store_is_down:
            raise StoreDownError("the store does not answer")

    def violated(self, violation: Violation, *, cause: BaseException | None = None) -> None:
        """Note that a law is broken; the first counts, and ends the world."""
        if self._violation is None:
            self._violation = (violation, cause)
            self.history.add("ORACLE", violation)
            self.loop.call_soon(self._end)

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()

    def run(self) -> Result:
        """Let everything happen; return what became of it."""
        try:
            asyncio.set_event_loop(self.loop)
            main = self.loop.create_task(self._run(), context=self.context)
            self.keep(main)
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(main)
            seconds, digest, last, count = self.loop.time(), self.history.digest, self.history.last, self.history.count
            self._bury()
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()
        violation, cause = self._violation or (None, None)
        return Result(
            seed=self.scenario.seed,
            violation=violation,
            cause="".join(traceback.format_exception(cause)) if cause is not None else "",
            release_count=self.oracle.release_count,
            seconds=seconds,
            event_count=count,
            digest=digest,
            last=last,
        )

    def came_up(self) -> None:
        """Somebody gets turns again; where nobody had any, what flags call for can be done from now on."""
        if sum(process.is_up for process in self.processes) == 1:
            for group in self.balancers:
                self.oracle.answers_again(group)

    def _bury(self) -> None:
        """Let what never got turns again end now, when nobody looks any more."""
        self.oracle.close()
        pending = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        for process in self.processes:
            process.bury()
        for task in pending:
            task.cancel()
        if pending:
            self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))

    async def _run(self) -> None:
        for process in self.processes:
            process.start()
        background = [
            self.spawn(self.storm.rage()),
            self.spawn(self._let_time_pass()),
        ]
        try:
            async with asyncio.timeout(LONGEST_S):
                await asyncio.gather(*(self.spawn(operator.work()) for operator in self.operators))
        except TimeoutError:
            self.violated(Violation("I19", f"the operators were not done within {LONGEST_S:g} s"))
        for task in background:
            task.cancel()
        self.oracle.finish()

    def spawn(self, coroutine: object) -> asyncio.Task[None]:
        """Let something happen beside everything else; what it raises ends the world."""
        task = self.loop.create_task(self._reported(coroutine), context=self.context)
        self.keep(task)
        return task

    async def _reported(self, coroutine: object) -> None:
        try:
            await coroutine  # type: ignore[misc]
        except Violation as violation:
            self.violated(violation)
        except Exception as error:  # noqa: BLE001  # a bug of the world itself has to be seen too
            self.violated(Violation("BUG", f"{type(error).__name__}: {error}"), cause=error)

    async def _let_time_pass(self) -> None:
        for quarter in count():
            await asyncio.sleep(0.25)
            self.executor.settle()
            self._let_clients_call()
            # What it looks at may last for half a minute, and it looks at everybody.
            if quarter % 4 == 0:
                self.oracle.time_passed()

    def _let_clients_call(self) -> None:
        """A few requests to whoever takes any; most are short, a few outlast every drain."""
        for group, balancer in self.balancers.items():
            serving = balancer.serving(group)
            if serving:
                name = self._clients.pick(serving)
                balancer.begin_request(name)
                self.oracle.served(name)
                is_long = self.scenario.troubles and self._clients.chance(0.02)
                lasts_s = 20.0 if is_long else min(self._clients.after(2), 10.0)
                self.loop.call_later(lasts_s, self._end_request, balancer, name, context=self.context)

    @staticmethod
    def _end_request(balancer: SimBalancer, name: str) -> None:
        # It may be gone, or gone and back.
        if balancer.knows(name) and balancer.in_flight(name):
            balancer.end_request(name)


def _package(version: str) -> SignedPackage:
    return SignedPackage(
        app="shop",
        version=version,
        sha256=version.encode().hex().rjust(64, "0"),
        size=1,
        manifest=b"{}",
        signature=bytes(64),
        key_id="0" * 16,
        url=f"file:///{version}",
    )
