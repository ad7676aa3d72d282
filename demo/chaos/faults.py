"""
The faults: each takes something away from a release that is going on, for a while, and brings it back.

Whoever would bring it back in production does so here: a supervisor starts again what was killed, an operator frees a
disk. Only Rollwave itself gets no help.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from demo.chaos.installation import WEBS, WORKERS
from demo.chaos.windows import forgetful
from demo.processes import LabError, until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from demo.chaos.edge import Edge
    from demo.chaos.host import Host
    from demo.chaos.lab import ChaosLab
    from demo.chaos.windows import Windows
    from demo.processes import Program

BACK_S: Final = 30.0
"""How long a host that boots may take until its application answers again, in seconds."""

REMEMBERED_S: Final = 20.0
"""Within which time an HAProxy that has forgotten who is out is told so again, other faults included (I26)."""


@dataclass
class Scene:
    """
    Where and when a fault happens.

    Attributes:
        lab: What is there.
        windows: What is away when.
        deployment: The release that is going on.
        host: The host that is hit, where one is.
        worker: Number, from 1, of the worker that is hit where no worker is at work.
        web: Number, from 0, of the web process that is hit.
        edge: The HAProxy that is hit, where one is.
        held: The slices that a worker had when it was killed.
        remembered_s: How long an HAProxy that was back did not know who is out of traffic.
        wrong: What was wrong with what came of the fault.
    """

    lab: ChaosLab
    windows: Windows
    deployment: int
    host: Host
    worker: int
    web: int
    edge: Edge
    held: frozenset[int] = frozenset()
    remembered_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def busy_worker(self) -> int:
        """Return the number of a worker that has a slice of the release now; any where none has."""
        held = self.lab.rollwave.slices_at_work(self.deployment)
        busy = [number for number, one in enumerate(self.lab.rollwave.workers, start=1) if one.pid in held]
        return busy[0] if busy else self.worker


@dataclass(frozen=True)
class Kind:
    """
    One kind of fault.

    Attributes:
        component: What it hits: two faults of one release never hit the same.
        hold_s: How long it lasts, from and to, in seconds.
        apply: Takes away at the beginning of its block, brings back at the end; yields what was hit, for a person.
    """

    component: str
    hold_s: tuple[float, float]
    apply: Callable[[Scene], AbstractContextManager[str]]


@dataclass
class Fault:
    """
    A fault of one release.

    Attributes:
        name: Of its kind, in `KINDS`.
        moment: The number of the event after which it happens.
        hold_s: How long it lasts.
        victim: What was hit; empty before.
        began_at: When it began, in Unix seconds; None before.
        struck: Whether anything of the release was still to come then: what comes too late disturbs nothing.
        error: What went wrong with the fault itself.
    """

    name: str
    moment: int
    hold_s: float
    victim: str = ""
    began_at: float | None = None
    struck: bool = False
    error: Exception | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def happen(self, scene: Scene, *, resting: threading.Event) -> None:
        """Happen now, to the end; earlier where the release rests, and nothing goes on that could be disturbed."""
        try:
            with KINDS[self.name].apply(scene) as self.victim:
                self.began_at = time.time()
                resting.wait(self.hold_s)
        except Exception as error:  # noqa: BLE001  # in a thread: whoever waits for us raises it
            self.error = error
        finally:
            self.finished.set()


# --- Rollwave's own processes ---


@contextmanager
def _away(name: str, take: Callable[[], object], bring_back: Callable[[], object]) -> Iterator[str]:
    take()
    try:
        yield name
    finally:
        bring_back()


def _dead(program: Program, name: str) -> AbstractContextManager[str]:
    return _away(name, program.crash, program.start)


def _stopped(program: Program, name: str) -> AbstractContextManager[str]:
    # The process alone: a worker's children are at work on hosts, which do not stop with it.
    return _away(name, partial(os.kill, program.pid, signal.SIGSTOP), partial(os.kill, program.pid, signal.SIGCONT))


def _worker_kill(scene: Scene) -> AbstractContextManager[str]:
    number = scene.busy_worker()
    program = scene.lab.rollwave.workers[number - 1]
    scene.held = scene.lab.rollwave.slices_at_work(scene.deployment).get(program.pid, frozenset())
    return _dead(program, f"worker {number}")


def _worker_stop(scene: Scene) -> AbstractContextManager[str]:
    number = scene.busy_worker()
    return _stopped(scene.lab.rollwave.workers[number - 1], f"worker {number}")


def _web_kill(scene: Scene) -> AbstractContextManager[str]:
    return _dead(scene.lab.rollwave.webs[scene.web], f"web {scene.web + 1}")


def _web_stop(scene: Scene) -> AbstractContextManager[str]:
    return _stopped(scene.lab.rollwave.webs[scene.web], f"web {scene.web + 1}")


def _worker_machine(scene: Scene) -> str:
    return WORKERS[scene.busy_worker() - 1]


@contextmanager
def _cut_off(scene: Scene, machine: str, service: str) -> Iterator[str]:
    with scene.lab.network.without_service(machine, scene.lab.rollwave.ports()[service]):
        yield machine


def _worker_without_database(scene: Scene) -> AbstractContextManager[str]:
    return _cut_off(scene, _worker_machine(scene), "database")


def _worker_without_broker(scene: Scene) -> AbstractContextManager[str]:
    return _cut_off(scene, _worker_machine(scene), "broker")


def _web_without_database(scene: Scene) -> AbstractContextManager[str]:
    return _cut_off(scene, WEBS[scene.web], "database")


@contextmanager
def _between(scene: Scene, one: str, other: str) -> Iterator[str]:
    with scene.lab.network.cut(one, other):
        yield f"{one} and {other}"


def _worker_without_host(scene: Scene) -> AbstractContextManager[str]:
    return _between(scene, _worker_machine(scene), scene.host.name)


def _worker_without_haproxy(scene: Scene) -> AbstractContextManager[str]:
    return _between(scene, _worker_machine(scene), scene.edge.name)


# --- what it runs on ---


def _service_dead(scene: Scene, name: str) -> AbstractContextManager[str]:
    service = scene.lab.rollwave.services[name]
    return _away(name, service.kill, service.start)


def _service_stopped(scene: Scene, name: str) -> AbstractContextManager[str]:
    service = scene.lab.rollwave.services[name]
    return _away(name, service.pause, service.resume)


def _database_kill(scene: Scene) -> AbstractContextManager[str]:
    return _service_dead(scene, "postgres")


def _database_stop(scene: Scene) -> AbstractContextManager[str]:
    return _service_stopped(scene, "postgres")


def _broker_kill(scene: Scene) -> AbstractContextManager[str]:
    return _service_dead(scene, str(scene.lab.rollwave.broker))


def _broker_stop(scene: Scene) -> AbstractContextManager[str]:
    return _service_stopped(scene, str(scene.lab.rollwave.broker))


# --- what clients meet ---


@contextmanager
def _haproxy_kill(scene: Scene) -> Iterator[str]:
    edge = scene.edge
    with scene.windows.open(forgetful(edge.name)):
        with scene.windows.open(edge.name):
            edge.program.kill()
            try:
                yield edge.name
            finally:
                edge.start()
        _await_memory(scene)


def _await_memory(scene: Scene) -> None:
    """Wait until the HAProxy that is back knows who is to be out."""
    began = time.monotonic()

    def knows() -> bool:
        out = {name for name, in_traffic in scene.lab.wanted().items() if not in_traffic}
        return scene.edge.view().told_out == out

    try:
        until(knows, what=f"the memory of {scene.edge.name} (I26)", timeout_s=REMEMBERED_S, every_s=0.05)
    except LabError as error:
        scene.wrong.append(str(error))
    scene.remembered_s.append(time.monotonic() - began)


def _haproxy_stop(scene: Scene) -> AbstractContextManager[str]:
    return _stopped(scene.edge.program, scene.edge.name)


def _haproxy_without_host(scene: Scene) -> AbstractContextManager[str]:
    return _between(scene, scene.edge.name, scene.host.name)


@contextmanager
def _host_kill(scene: Scene) -> Iterator[str]:
    host = scene.host
    with scene.windows.open(host.name):
        serves = host.is_installed
        host.crash()
        try:
            yield host.name
        finally:
            host.boot()
            if serves:
                until(lambda: host.running() is not None, what=f"the return of {host.name}", timeout_s=BACK_S)


@contextmanager
def _host_stop(scene: Scene) -> Iterator[str]:
    with scene.host.hanging():
        yield scene.host.name


@contextmanager
def _host_cut(scene: Scene) -> Iterator[str]:
    with scene.lab.network.cut_off(scene.host.name):
        yield scene.host.name


@contextmanager
def _disk_full(scene: Scene) -> Iterator[str]:
    with scene.host.full_disk():
        yield scene.host.name


KINDS: Final[Mapping[str, Kind]] = {
    "worker killed": Kind("worker", (2, 4), _worker_kill),
    "worker stopped": Kind("worker", (10, 10), _worker_stop),
    "worker cut off from the database": Kind("worker", (4, 10), _worker_without_database),
    "worker cut off from the broker": Kind("worker", (4, 10), _worker_without_broker),
    "worker cut off from a host": Kind("worker", (4, 10), _worker_without_host),
    "worker cut off from HAProxy": Kind("worker", (4, 10), _worker_without_haproxy),
    "web killed": Kind("web", (1, 3), _web_kill),
    "web stopped": Kind("web", (3, 8), _web_stop),
    "web cut off from the database": Kind("web", (3, 8), _web_without_database),
    "broker killed": Kind("broker", (1, 3), _broker_kill),
    "broker stopped": Kind("broker", (3, 8), _broker_stop),
    "database killed": Kind("database", (1, 3), _database_kill),
    "database stopped": Kind("database", (2, 5), _database_stop),
    "HAProxy killed": Kind("haproxy", (1, 2), _haproxy_kill),
    "HAProxy stopped": Kind("haproxy", (1, 3), _haproxy_stop),
    "HAProxy cut off from a host": Kind("haproxy", (2, 5), _haproxy_without_host),
    "host killed": Kind("host", (1, 4), _host_kill),
    "host stopped": Kind("host", (2, 5), _host_stop),
    "host cut off": Kind("host", (2, 5), _host_cut),
    "disk full": Kind("disk", (60, 60), _disk_full),
}
"""
By name, for a person. There is no child of a pool to kill: a worker is one process of threads, and pump and reconciler
are in it, so they die and hang with it.
"""

LAST_MOMENT: Final = 80
"""A release of eight targets writes some 100 events; a fault comes after one of the first 80."""


class Deck:
    """
    Deals faults, every kind before any kind comes again.

    Args:
        chance: What it is dealt by.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._kinds: list[str] = []

    def deal(self, count: int) -> list[Fault]:
        """Return *count* faults for one release, of different components."""
        dealt: list[Fault] = []
        while len(dealt) < count:
            taken = {KINDS[fault.name].component for fault in dealt}
            name = next((name for name in self._kinds if KINDS[name].component not in taken), None)
            if name is None:
                self._kinds += self._chance.sample(sorted(KINDS), len(KINDS))
                continue
            self._kinds.remove(name)
            moment = self._chance.randrange(1, LAST_MOMENT)
            dealt.append(Fault(name=name, moment=moment, hold_s=self._chance.uniform(*KINDS[name].hold_s)))
        return dealt
