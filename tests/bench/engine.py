"""
What the engine costs: ``./dev bench engine [--targets N]``.

Releases to N targets with hosts that answer at once, on SQLite with every intent and result durable before what follows
it. Then, on a copy of the database as it was before, all that such a release writes once more: the same statements in
the same transactions, as durable, with nothing around them. That is the limit. Both run in processes of their own, so
that peak memory is the release's own. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any
from unittest import mock

import django
import uvloop
from django.db import ConnectionHandler, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from rollwave.ports.executor import HostReport, HostState
from rollwave.system import StoreThreads, SystemClock, tune_interpreter

DONE = HostReport(state=HostState.SUCCEEDED, running_version="1.1")
SIZES = (1_000, 10_000, 100_000)
ROUNDS = 5
"""The best of them counts, of the release and of its limit: the machine's disk is not ours alone. Two, where one takes
long enough to even that out by itself."""

Statement = tuple[str, Any]
COMMIT: Statement = ("COMMIT", None)
"""The end of a transaction, among its statements."""


class NoOpExecutor:
    """Hosts that have done everything before they are asked."""

    async def run(self, _command: object) -> Any:
        return DONE

    async def status(self, _command: object) -> Any:
        return DONE


def prepare(count: int, *, groups: int = 1) -> Any:
    """Make a store with *count* instances in as many groups, and a package; return the package's reference."""
    from django.core.management import call_command

    from rollwave.domain.model import PackageRef
    from rollwave.store import models

    call_command("migrate", verbosity=0)
    app = models.App.objects.create(name="bench")
    made = [
        models.Group.objects.create(
            app=app, name=name, deploy_path="/srv/{server}", start=["start"], stop=["stop"], executor="local"
        )
        for name in ["bench", *(f"bench{number}" for number in range(1, groups))]
    ]
    servers = models.Server.objects.bulk_create(
        (models.Server(name=f"s{number}", address="127.0.0.1", site=f"site{number % 4}") for number in range(count)),
        batch_size=5_000,
    )
    models.Instance.objects.bulk_create(
        (
            models.Instance(group=made[number % groups], server=server, port=80, new=False, version="1.0")
            for number, server in enumerate(servers)
        ),
        batch_size=5_000,
    )
    package = models.Package.objects.create(
        app=app, version="1.1", sha256="0" * 64, size=1, manifest=b"{}", signature=b"", key_id="0", url="file:///",
        pushed_by="bench", pushed_at=SystemClock().now(),
    )  # fmt: skip
    return PackageRef(id=package.pk, version="1.1")


async def release(goal: Any, count: int) -> tuple[float, int]:
    """Carry one release out; return its seconds and the number of its transitions."""
    from rollwave.domain.config import BakePolicy, DeploymentConfig
    from rollwave.domain.model import Kind, Phase
    from rollwave.engine.effects import Effects
    from rollwave.engine.service import Engine
    from rollwave.queue.embedded import EmbeddedQueue
    from rollwave.store.django_store import DjangoStore
    from rollwave.store.models import Event

    clock = SystemClock()
    offload = StoreThreads()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Observed(DjangoStore):
        """Says when the release is over."""

        def commit(self, *arguments: Any, **named: Any) -> Any:
            after = super().commit(*arguments, **named)
            if any(loaded.state.deployment.phase.is_final for loaded in after):
                loop.call_soon_threadsafe(over.set)
            return after

    store = Observed()
    effects = Effects(executors={"local": NoOpExecutor()}, balancers={}, clock=clock)
    engine = Engine(
        store, effects=effects, balancers={}, make_queue=EmbeddedQueue, clock=clock, offload=offload, owner="bench"
    )
    running = asyncio.create_task(engine.run())
    config = DeploymentConfig(bake_policy=BakePolicy.AUTO, prestage=False)

    planned = await offload(engine.releases.plan, "bench", kind=Kind.ROLLOUT, config=config, goal=goal, actor="bench")
    began = time.perf_counter()
    deployment_id = await offload(engine.releases.create, planned, now=clock.now())
    await over.wait()
    seconds = time.perf_counter() - began
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await offload(store.load, deployment_id)).state.deployment.phase is Phase.SUCCESS
    transitions = await offload(Event.objects.filter(deployment=deployment_id, kind="Transition").count)
    assert transitions == 10 * count
    offload.close()
    return seconds, transitions


def measure_release(count: int) -> dict[str, Any]:
    """Measure one release in this process."""
    goal = prepare(count)
    tune_interpreter()
    cpu = time.process_time()
    seconds, transitions = uvloop.run(release(goal, count))
    cpu = time.process_time() - cpu
    return {
        "targets": count,
        "transitions": transitions,
        "seconds": round(seconds, 2),
        "transitions_per_s": round(transitions / seconds),
        "cpu_us_per_transition": round(cpu / transitions * 1e6, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def measure_limit(count: int) -> dict[str, Any]:
    """Note what one release writes, and write it alone."""
    goal = prepare(count)
    before = copy_database()
    statements: list[Statement] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # Django calls it by place
        found = execute(sql, params, many, context)
        if not reads_only() and not sql.lstrip().startswith(("SELECT", "SET", "BEGIN")):
            statements.append((sql, params))
            if not context["connection"].in_atomic_block:
                statements.append(COMMIT)
        return found

    def commit(wrapper: BaseDatabaseWrapper) -> Any:
        if not reads_only() and statements and statements[-1] is not COMMIT:
            statements.append(COMMIT)
        return usual(wrapper)

    def reads_only() -> bool:
        return "reader" in threading.current_thread().name

    connection_created.connect(lambda connection, **_: connection.execute_wrappers.append(note), weak=False)
    usual = BaseDatabaseWrapper._commit
    with mock.patch.object(BaseDatabaseWrapper, "_commit", commit):
        _, transitions = uvloop.run(release(goal, count))
    return {"limit_per_s": round(transitions / replay(statements, before))}


def copy_database() -> str:
    """Copy the database as it is now; return the name of the copy."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        before = Path(name).with_name("before.sqlite3")
        with closing(sqlite3.connect(before)) as copy:
            connection.connection.backup(copy)
        return str(before)
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}_before TEMPLATE {name}")
    return f"{name}_before"


def replay(statements: list[Statement], database: str) -> float:
    """Run *statements* on *database*, each transaction as its own; return the seconds."""
    alone = ConnectionHandler({"default": {**connection.settings_dict, "NAME": database}})["default"]
    alone.ensure_connection()
    alone.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    began = time.perf_counter()
    with alone.cursor() as wrapper:
        cursor = wrapper.cursor
        for statement in statements:
            if statement is COMMIT:
                alone.connection.commit()
                if alone.vendor == "sqlite":
                    alone._start_transaction_under_autocommit()
                continue
            cursor.execute(*statement)
            if cursor.description:
                cursor.fetchall()
        alone.connection.commit()
    seconds = time.perf_counter() - began
    with alone.cursor() as wrapper:
        phases = wrapper.execute("SELECT phase FROM store_deployment").fetchall()
    assert phases == [("success",)], phases
    return seconds


def in_own_process(what: str, count: int) -> dict[str, Any]:
    """Measure *what* of one size in a fresh process on a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ROLLWAVE_DATA": folder, "DJANGO_SETTINGS_MODULE": "rollwave.web.settings"}
        argv = [sys.executable, "-m", "tests.bench.engine", "--part", what, "--targets", str(count)]
        done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def measure(count: int, *, rounds: int) -> dict[str, Any]:
    """Return all there is to say of one size."""
    times = rounds if count <= 10_000 else min(rounds, 2)
    found_in = [(in_own_process("release", count), in_own_process("limit", count)) for _ in range(times)]
    found = max((one for one, _ in found_in), key=itemgetter("transitions_per_s"))
    limit = max((one for _, one in found_in), key=itemgetter("limit_per_s"))
    ratio = found["transitions_per_s"] / limit["limit_per_s"]
    found |= {**limit, "ratio": round(ratio, 3)}
    sys.stderr.write(
        f"{count:>8,} targets: {found['seconds']:>7} s, {found['transitions_per_s']:>8,} transitions/s, "
        f"limit {found['limit_per_s']:>8,}/s, ratio {found['ratio']}, {found['peak_rss_mb']} MB\n"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench engine", description=__doc__)
    parser.add_argument("--targets", type=int, default=10_000, help="the size that the last line is about")
    parser.add_argument("--only", action="store_true", help="this size alone, not 1,000 and 100,000 beside it")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often release and limit run in turn")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        django.setup()
        sys.stdout.write(json.dumps(PARTS[options.part](options.targets)))
        return
    sizes = [options.targets] if options.only else sorted({*SIZES, options.targets})
    found = [measure(count, rounds=options.rounds) for count in sizes]
    main_size = next(one for one in found if one["targets"] == options.targets)
    sys.stdout.write(json.dumps({**main_size, "sizes": found}) + "\n")


PARTS = {"release": measure_release, "limit": measure_limit}

if __name__ == "__main__":
    main()
