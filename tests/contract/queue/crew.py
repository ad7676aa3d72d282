"""
What the laws of the queue need, each in a process of its own: ``python -m tests.contract.queue.crew PART ...``.

A worker here is a real one, but for its hosts: they tell a file of every command, and answer once they are let go.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rollwave.ports.executor import HostReport, HostState

if TYPE_CHECKING:
    from rollwave.ports.executor import HostCommand

ELSEWHERE: Final = "elsewhere"
"""A queue at the broker that nobody takes anything from."""


class HeldHosts:
    """
    Hosts that do nothing until they are let go.

    Args:
        folder: Where they write ``ran``; once there is ``go``, they answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: set[tuple[str, str]] = set()

    async def run(self, command: HostCommand) -> HostReport:
        instance, verb = command.plan.host.instance, command.verb.value
        note(self._folder / "ran", instance, verb)
        while not (self._folder / "go").exists():  # noqa: ASYNC110  # another process lets them go
            await asyncio.sleep(0.02)
        self._done.add((instance, verb))
        return HostReport(state=HostState.SUCCEEDED, running_version=command.plan.package.version)

    async def status(self, command: HostCommand) -> HostReport:
        is_done = (command.plan.host.instance, command.verb.value) in self._done
        return HostReport(state=HostState.SUCCEEDED if is_done else HostState.ABSENT)


def note(file: Path, *words: object) -> None:
    """Add one line: who we are, and what happened."""
    with file.open("a", encoding="utf-8") as notes:
        notes.write(json.dumps([os.getpid(), *words]) + "\n")


def work(data: str, folder: str, *, astray: bool = False) -> int:
    """Be a worker; what it sends goes *astray*, if told so, to where nobody takes it."""
    from celery import signals

    from rollwave.queue.celery import TASK
    from rollwave.worker import work

    place = Path(folder)

    def wire(*arguments: Any, celery: Any, **named: Any) -> Any:
        from rollwave.bootstrap import build

        if astray:
            celery.conf.task_routes = {TASK: {"queue": ELSEWHERE}}
        return partial(build, executors={"local": HeldHosts(place)}, balancers={})(*arguments, celery=celery, **named)

    @signals.task_prerun.connect(weak=False)
    def arrived(*, args: Any, **_: Any) -> None:
        note(place / "arrived", *args)

    return work(Path(data), concurrency=4, wire=wire)


def release(group: str) -> int:
    """Make a group of four instances, and release to all of them at once; return the deployment."""
    import django

    django.setup()
    from rollwave.domain.config import BakePolicy, DeploymentConfig
    from rollwave.domain.model import Kind
    from rollwave.engine.releases import Releases
    from rollwave.store.django_store import DjangoStore
    from rollwave.system import SystemClock
    from tests.stage import make_group

    goal = make_group(group, 4)
    releases = Releases(DjangoStore())
    config = DeploymentConfig(
        bake_policy=BakePolicy.AUTO, prestage=False, canary_count=0, max_unavailable_percent=50, batch_pause_s=0
    )
    planned = releases.plan(group, kind=Kind.ROLLOUT, config=config, goal=goal, actor="ann")
    return releases.create(planned, now=SystemClock().now())


def main() -> int:
    match sys.argv[1:]:
        case ["work", data, folder]:
            return work(data, folder)
        case ["work-astray", data, folder]:
            return work(data, folder, astray=True)
        case ["release", group]:
            sys.stdout.write(f"\n{release(group)}\n")
            return 0
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
