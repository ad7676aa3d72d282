"""
What the distributed engine costs: ``./dev bench distributed [--broker NAME] [--targets N]``.

Releases to hosts that answer at once, on PostgreSQL with Celery over each broker: two workers, every intent and result
durable before what follows it. In the same run: what one such release writes, written once more with nothing around it
(the limit, see ``tests.bench.engine``), and a chain of Celery tasks, one for each stage (``tests.bench.naive_chain``).
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import psycopg

from demo.processes import Program, running, until
from demo.services import SERVICES, Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from demo.services import Service

ROOT = Path(__file__).parents[2]
WORKERS = 2
SIZES = (1_000, 10_000, 100_000)
GROUPS = 1_000
"""So many groups of ten instances release at once."""

CHAIN_TARGETS = 400
CHAIN_PROCESSES = 4
"""Of each of two workers; more made it no faster on two processors."""

BROKERS = ("rabbitmq", "redis")


class Setting:
    """
    A database of its own and workers on it.

    Args:
        folder: Where everything is.
        postgres: The server.
        broker: Carries the messages.
        name: Of the database.
    """

    def __init__(self, folder: Path, postgres: Postgres, broker: Service, name: str) -> None:
        self.folder = folder
        folder.mkdir()
        self.url = postgres.create_database(name)
        self.environment = {
            "ROLLWAVE_DATABASE_URL": self.url,
            "ROLLWAVE_BROKER_URL": broker.url,
            "ROLLWAVE_DATA": str(folder),
            "DJANGO_SETTINGS_MODULE": "rollwave.web.settings",
        }

    def part(self, *arguments: str) -> Any:
        """Run a part of this module in a process of its own; return what it says."""
        argv = [sys.executable, "-m", "tests.bench.distributed", "--part", *arguments]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True, cwd=ROOT)
        return json.loads(done.stdout.splitlines()[-1])

    @contextmanager
    def workers(self, *argv: str) -> Iterator[list[Program]]:
        """Run workers as long as the block lasts; ``{number}`` in *argv* tells them apart."""
        programs = [
            Program(
                [sys.executable, "-m", *(word.format(number=number) for word in argv)],
                log=self.folder / f"worker-{number}.log",
                cwd=ROOT,
                environment=self.environment,
            )
            for number in range(WORKERS)
        ]
        with running(programs):
            yield programs

    def told(self) -> list[dict[str, Any]]:
        """Return what the workers wrote down as they ended."""
        return [json.loads((self.folder / f"{number}.json").read_text()) for number in range(WORKERS)]


def release(setting: Setting, groups: int, targets: int) -> dict[str, Any]:
    """Release to *groups* groups of *targets* instances in all; return what it took."""
    setting.part("prepare", str(groups), str(targets))
    with setting.workers("tests.bench.distributed", "--part", "worker", str(setting.folder / "{number}.json")):
        found: dict[str, Any] = setting.part("release", str(groups))
    told = setting.told()
    seconds = found["seconds"]
    return {
        "groups": groups,
        "targets": targets,
        "seconds": round(seconds, 2),
        "targets_per_s": round(targets / seconds),
        "transitions_per_s": round(10 * targets / seconds),
        "cpu_ms_per_target": round(sum(one["cpu_s"] for one in told) / targets * 1000, 3),
        "peak_rss_mb": max(one["peak_rss_mb"] for one in told),
        "messages": sum(one["messages"] for one in told),
    }


def measure(broker_name: str, sizes: Sequence[int], *, groups: int) -> dict[str, Any]:
    """Measure everything over one broker."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rw-bench-")))
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        broker = stack.enter_context(SERVICES[broker_name](folder / broker_name))

        def setting(name: str) -> Setting:
            return Setting(folder / name, postgres, broker, name)

        found = []
        for size in sizes:
            limit = setting(f"limit_{size}").part("limit", str(size))["limit_per_s"]
            one = release(setting(f"release_{size}"), 1, size)
            one |= {"limit_per_s": limit, "ratio_to_limit": round(one["transitions_per_s"] / limit, 3)}
            found.append(one)
            say(broker_name, one)
        if groups:
            found.append(release(setting("groups"), groups, 10 * groups))
            say(broker_name, found[-1])
        chain_per_s = naive_chain(setting("chain"))
    for one in found:
        one["ratio_to_naive_chain"] = round(one["targets_per_s"] / chain_per_s, 1)
    return {"broker": broker_name, "naive_chain_targets_per_s": round(chain_per_s, 1), "sizes": found}


def naive_chain(setting: Setting) -> float:
    """Return how many targets a second a chain of tasks brings through."""
    setting.part("chain-tables")
    argv = ["celery", "--app", "tests.bench.naive_chain", "worker", "--concurrency", str(CHAIN_PROCESSES)]
    # Two of one name would fight for the same control queue.
    with setting.workers(*argv, "--loglevel", "info", "--hostname", "chain-{number}@%h"):
        return float(setting.part("chain")["targets_per_s"])


def say(broker: str, one: dict[str, Any]) -> None:
    """Show one result to whoever waits."""
    ratio = f", ratio to limit {one['ratio_to_limit']}" if "ratio_to_limit" in one else ""
    sys.stderr.write(
        f"{broker:>8} {one['groups']:>5} groups {one['targets']:>8,} targets: {one['seconds']:>7} s, "
        f"{one['targets_per_s']:>6,} targets/s{ratio}, {one['cpu_ms_per_target']} ms of CPU each, "
        f"{one['peak_rss_mb']} MB, {one['messages']} messages\n"
    )


# --- parts, each in a process of its own ---


def part_prepare(groups: str, targets: str) -> dict[str, Any]:
    """Make the groups, and a package."""
    from tests.bench.engine import prepare

    prepare(int(targets), groups=int(groups))
    return {}


def part_limit(targets: str) -> dict[str, Any]:
    """Return what the database takes of one release."""
    from tests.bench.engine import measure_limit

    return measure_limit(int(targets))


def part_worker(told: str) -> dict[str, Any]:
    """Work, and write down at the end what it took."""
    import resource
    from functools import partial

    from celery import signals

    from rollwave.worker import work
    from tests.bench.engine import NoOpExecutor

    sent: list[int] = []
    to_start: list[float] = []
    signals.after_task_publish.connect(lambda **_: sent.append(1), weak=False)
    signals.worker_ready.connect(lambda **_: to_start.append(time.process_time()), weak=False)

    def wire(*arguments: Any, **named: Any) -> Any:
        from rollwave.bootstrap import build

        return partial(build, executors={"local": NoOpExecutor()}, balancers={})(*arguments, **named)

    work(Path(os.environ["ROLLWAVE_DATA"]), wire=wire)
    found = {
        "cpu_s": time.process_time() - to_start[0],
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "messages": len(sent),
    }
    Path(told).write_text(json.dumps(found))
    return found


def part_release(groups: str) -> dict[str, Any]:
    """Create a deployment of each group, and wait until all are over; return the seconds."""
    from rollwave.domain.config import BakePolicy, DeploymentConfig
    from rollwave.domain.model import Kind, PackageRef
    from rollwave.engine.releases import Releases
    from rollwave.store.django_store import DjangoStore
    from rollwave.store.models import Deployment, Event, Package
    from rollwave.system import SystemClock

    clock, releases, package = SystemClock(), Releases(DjangoStore()), Package.objects.get()
    config = DeploymentConfig(bake_policy=BakePolicy.AUTO, prestage=False)
    goal = PackageRef(id=package.pk, version=package.version)
    names = ["bench", *(f"bench{number}" for number in range(1, int(groups)))]
    plans = [releases.plan(name, kind=Kind.ROLLOUT, config=config, goal=goal, actor="bench") for name in names]
    began = time.perf_counter()
    for planned in plans:
        releases.create(planned, now=clock.now())
    succeeded = Deployment.objects.filter(phase="success")
    until(lambda: succeeded.count() == len(plans), what="success of all", timeout_s=900, every_s=0.02)
    seconds = time.perf_counter() - began
    targets = sum(len(batch) for planned in plans for batch in planned.batches)
    assert Event.objects.filter(kind="Transition").count() == 10 * targets
    return {"seconds": seconds}


def part_chain_tables() -> dict[str, Any]:
    """Make the tables of the chain."""
    from tests.bench.naive_chain import TABLES

    with psycopg.connect(os.environ["ROLLWAVE_DATABASE_URL"]) as connection:
        connection.execute(TABLES)
        connection.execute(f"INSERT INTO naive_target SELECT generate_series(1, {CHAIN_TARGETS})")
    return {}


def part_chain() -> dict[str, Any]:
    """Send all targets on their way, and wait until the last has arrived."""
    from tests.bench.naive_chain import begin

    with psycopg.connect(os.environ["ROLLWAVE_DATABASE_URL"], autocommit=True) as connection:
        began = time.perf_counter()
        for target_id in range(1, CHAIN_TARGETS + 1):
            begin(target_id)
        arrived = "SELECT count(*) FROM naive_target WHERE stage = 'markup' AND progress = 'success'"

        def is_over() -> bool:
            found = connection.execute(arrived).fetchone()
            return found == (CHAIN_TARGETS,)

        until(is_over, what="the end of all chains", timeout_s=600, every_s=0.02)
        return {"targets_per_s": CHAIN_TARGETS / (time.perf_counter() - began)}


PARTS = {
    "prepare": part_prepare,
    "limit": part_limit,
    "worker": part_worker,
    "release": part_release,
    "chain-tables": part_chain_tables,
    "chain": part_chain,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench distributed", description=__doc__)
    parser.add_argument("--targets", type=int, default=10_000, help="the size that the last line is about")
    parser.add_argument("--only", action="store_true", help="this size alone, not the others and the many groups")
    parser.add_argument("--broker", choices=BROKERS, help="this broker alone; the last line is about the first")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, *arguments = options.part
        if name != "worker":
            django.setup()
        sys.stdout.write("\n" + json.dumps(PARTS[name](*arguments)) + "\n")
        return
    sizes = [options.targets] if options.only else sorted({*SIZES, options.targets})
    brokers = [options.broker] if options.broker else BROKERS
    found = [measure(broker, sizes, groups=0 if options.only else GROUPS) for broker in brokers]
    main_size = next(one for one in found[0]["sizes"] if one["targets"] == options.targets and one["groups"] == 1)
    sys.stdout.write(json.dumps({"broker": found[0]["broker"], **main_size, "brokers": found}) + "\n")


if __name__ == "__main__":
    main()
