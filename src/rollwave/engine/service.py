"""The engine of one process: worker, dispatcher and traffic keeper, wired together and run side by side."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from rollwave.engine.dispatcher import Dispatcher
from rollwave.engine.recorder import Recorder
from rollwave.engine.releases import Releases
from rollwave.engine.runner import SliceRunner
from rollwave.engine.traffic import TrafficKeeper
from rollwave.ports.telemetry import UNHEARD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rollwave.engine.effects import Effects
    from rollwave.engine.offload import Offload
    from rollwave.ports.balancer import Balancer
    from rollwave.ports.clock import Clock
    from rollwave.ports.queue import Queue
    from rollwave.ports.store import Loaded, SliceKey, Store
    from rollwave.ports.telemetry import Telemetry


class Engine:
    """
    Everything that makes releases go on, in one process.

    Args:
        store: The truth.
        effects: Brings stages about.
        balancers: By name, as *effects* knows them.
        make_queue: Makes the queue around this engine's worker.
        clock: Time.
        offload: Runs the store's blocking calls.
        owner: Name of this process among all that work on the store.
        lease_s: How long a slice is owned without renewing, in seconds; a dead worker is noticed after that.
        telemetry: Hears of what the engine does.
    """

    def __init__(
        self,
        store: Store,
        *,
        effects: Effects,
        balancers: Mapping[str, Balancer],
        make_queue: Callable[[Callable[[SliceKey], object]], Queue],
        clock: Clock,
        offload: Offload,
        owner: str,
        lease_s: float = 10.0,
        telemetry: Telemetry = UNHEARD,
    ) -> None:
        self.releases = Releases(store, on_commit=self._committed, telemetry=telemetry)
        recorder = Recorder(self.releases, clock=clock, offload=offload, lease_s=lease_s, telemetry=telemetry)
        runner = SliceRunner(
            store,
            recorder=recorder,
            effects=effects,
            clock=clock,
            offload=offload,
            owner=owner,
            lease=timedelta(seconds=lease_s),
            telemetry=telemetry,
        )
        self.run_slice = runner.run
        """Claims one slice and drives it to its end; for who brings slices from outside."""
        self.queue = make_queue(runner.run)
        self._dispatcher = Dispatcher(
            self.releases, queue=self.queue, clock=clock, offload=offload, telemetry=telemetry
        )
        self._traffic = TrafficKeeper(store, balancers=balancers, clock=clock, offload=offload, telemetry=telemetry)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatcher.run())
            group.create_task(self._traffic.run())

    def nudge(self) -> None:
        """Have everything looked at now, from any thread: something was committed outside."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._dispatcher.nudge)
            self._loop.call_soon_threadsafe(self._traffic.nudge)

    def _committed(self, loaded: Loaded) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._dispatcher.nudge, loaded)
