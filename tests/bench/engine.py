"""
What the engine costs: ``./dev bench engine [--targets N]``.

Releases to N targets with hosts that answer at once, on SQLite with every intent and result durable before what follows
it, and, in the same run, writes as many transitions by the same statements with nothing around them: the limit. Each
size runs in a process of its own, so that peak memory is its own. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop

from rollwave.ports.executor import HostReport, HostState
from rollwave.system import SystemClock, WriterThread, tune_interpreter

DONE = HostReport(state=HostState.SUCCEEDED, running_version="1.1")
SIZES = (1_000, 10_000, 100_000)
ROWS_PER_WRITE = 500
"""As many as a slice has targets."""


class NoOpExecutor:
    """Hosts that have done everything before they are asked."""

    async def run(self, _command: object) -> Any:
        return DONE

    async def status(self, _command: object) -> Any:
        return DONE


def prepare(count: int) -> Any:
    """Make a store with one group of *count* instances, and a package; return the package's reference."""
    from django.core.management import call_command

    from rollwave.domain.model import PackageRef
    from rollwave.store import models

    call_command("migrate", verbosity=0)
    app = models.App.objects.create(name="bench")
    group = models.Group.objects.create(
        app=app, name="bench", deploy_path="/srv/{server}", start=["start"], stop=["stop"], executor="local"
    )
    servers = models.Server.objects.bulk_create(
        (models.Server(name=f"s{number}", address="127.0.0.1", site=f"site{number % 4}") for number in range(count)),
        batch_size=5_000,
    )
    models.Instance.objects.bulk_create(
        (models.Instance(group=group, server=server, port=80, new=False, version="1.0") for server in servers),
        batch_size=5_000,
    )
    package = models.Package.objects.create(
        app=app, version="1.1", sha256="0" * 64, size=1, manifest=b"{}", signature=b"", key_id="0", url="file:///",
        pushed_by="bench", pushed_at=SystemClock().now(),
    )  # fmt: skip
    return PackageRef(id=package.pk, version="1.1")


async def release(store: Any, goal: Any, count: int) -> tuple[float, int]:
    """Carry one release out; return its seconds and the number of its transitions."""
    from rollwave.domain.config import BakePolicy, DeploymentConfig
    from rollwave.domain.model import Kind, Phase
    from rollwave.engine.effects import Effects
    from rollwave.engine.service import Engine
    from rollwave.queue.embedded import EmbeddedQueue
    from rollwave.store.models import Event

    clock = SystemClock()
    offload = WriterThread()
    effects = Effects(executors={"local": NoOpExecutor()}, balancers={}, clock=clock)
    engine = Engine(
        store, effects=effects, balancers={}, make_queue=EmbeddedQueue, clock=clock, offload=offload, owner="bench"
    )
    running = asyncio.create_task(engine.run())
    config = DeploymentConfig(bake_policy=BakePolicy.AUTO, prestage=False)

    def start() -> int:
        planned = engine.releases.plan("bench", kind=Kind.ROLLOUT, config=config, goal=goal, actor="bench")
        return engine.releases.create(planned, now=clock.now())

    began = time.perf_counter()
    deployment_id = await offload(start)
    while deployment_id in await offload(store.active):  # noqa: ASYNC110  # it ends in the store, and tells nobody
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await offload(store.load, deployment_id)).state.deployment.phase is Phase.SUCCESS
    transitions = await offload(Event.objects.filter(deployment=deployment_id, kind="Transition").count)
    assert transitions == 10 * count
    offload.close()
    return seconds, transitions


def write_only(store: Any, goal: Any, transitions: int) -> float:
    """Write as many transitions by the same statements and nothing else; return the seconds."""
    from rollwave.domain.config import DeploymentConfig
    from rollwave.domain.model import Kind, Progress, Stage
    from rollwave.engine.releases import Releases
    from rollwave.ports.store import SliceRecord, Transition
    from rollwave.store.models import Slice

    releases = Releases(store)
    now = SystemClock().now()
    planned = releases.plan("bench", kind=Kind.REROLL, config=DeploymentConfig(), goal=goal, actor="bench")
    deployment_id = releases.create(planned, now=now)
    number = Slice.objects.filter(deployment=deployment_id, course="canary").get().number
    claim = store.claim((deployment_id, number), owner="bench", now=now, lease_until=now + timedelta(hours=1))
    instance_ids = [instance_id for batch in planned.batches for instance_id in batch]
    steps = [(stage, progress) for stage in list(Stage)[:5] for progress in (Progress.RUNNING, Progress.SUCCESS)]
    rows = [
        Transition(instance_id=instance_id, attempt=1, stage=stage, progress=progress, at=now)
        for first in range(0, len(instance_ids), ROWS_PER_WRITE)
        for stage, progress in steps
        for instance_id in instance_ids[first : first + ROWS_PER_WRITE]
    ][:transitions]
    records = [
        SliceRecord(
            key=claim.key, epoch=claim.epoch, recalls=0, lease_until=now + timedelta(hours=1),
            transitions=rows[first : first + ROWS_PER_WRITE],
        )
        for first in range(0, len(rows), ROWS_PER_WRITE)
    ]  # fmt: skip
    began = time.perf_counter()
    for record in records:
        store.commit([], [record], at=now)
    return time.perf_counter() - began


def measure(count: int) -> dict[str, Any]:
    """Measure one size in this process."""
    import django

    django.setup()
    from rollwave.store.django_store import DjangoStore

    goal = prepare(count)
    store = DjangoStore()
    tune_interpreter()
    cpu = time.process_time()
    seconds, transitions = uvloop.run(release(store, goal, count))
    cpu = time.process_time() - cpu
    peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    limit = transitions / write_only(store, goal, transitions)
    rate = transitions / seconds
    return {
        "targets": count,
        "transitions": transitions,
        "seconds": round(seconds, 2),
        "transitions_per_s": round(rate),
        "limit_per_s": round(limit),
        "ratio": round(rate / limit, 3),
        "cpu_us_per_transition": round(cpu / transitions * 1e6, 1),
        "peak_rss_mb": round(peak_rss_mb),
    }


def in_own_process(count: int) -> dict[str, Any]:
    """Measure one size in a fresh process on a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ROLLWAVE_DATA": folder, "DJANGO_SETTINGS_MODULE": "rollwave.web.settings"}
        argv = [sys.executable, "-m", "tests.bench.engine", "--one", str(count)]
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench engine", description=__doc__)
    parser.add_argument("--targets", type=int, default=10_000, help="the size that the last line is about")
    parser.add_argument("--only", action="store_true", help="this size alone, not 1,000 and 100,000 beside it")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    sizes = [options.targets] if options.only else sorted({*SIZES, options.targets})
    found = []
    for count in sizes:
        found.append(in_own_process(count))
        print(
            f"{count:>8,} targets: {found[-1]['seconds']:>7} s, {found[-1]['transitions_per_s']:>8,} transitions/s, "
            f"limit {found[-1]['limit_per_s']:>8,}/s, ratio {found[-1]['ratio']}, {found[-1]['peak_rss_mb']} MB",
            file=sys.stderr,
        )
    main_size = next(one for one in found if one["targets"] == options.targets)
    print(json.dumps({**main_size, "sizes": found}))


if __name__ == "__main__":
    main()
