"""A database, a broker, and workers that are real but for their hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import psycopg

from demo.installation import BIN
from demo.processes import Program, running, until
from rollwave.queue.celery import TASK, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[3]
LEASE_S: Final = 600
"""No law waits for a lease to run out: whatever is taken over was given back."""


class World:
    """
    One database over one broker.

    Args:
        folder: Where everything is that belongs to it.
        database: Its URL.
        broker: The broker's.
    """

    def __init__(self, folder: Path, *, database: str, broker: str) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._data.mkdir()
        (self._data / "rollwave.toml").write_text(f"[engine]\nlease_s = {LEASE_S}\n", encoding="utf-8")
        self._database = database
        self.broker = broker
        self._stack = ExitStack()
        self._names = iter(range(1, 100))

    def __enter__(self) -> Self:
        self._run([str(BIN / "rollwave"), "migrate", "--data", str(self._data)])
        self._connection = self._stack.enter_context(psycopg.connect(self._database, autocommit=True))
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def _environment(self, broker: str | None = None) -> dict[str, str]:
        return {
            "ROLLWAVE_DATABASE_URL": self._database,
            "ROLLWAVE_BROKER_URL": broker or self.broker,
            "ROLLWAVE_DATA": str(self._data),
            "DJANGO_SETTINGS_MODULE": "rollwave.web.settings",
        }

    def _run(self, argv: list[str]) -> str:
        environment = {**os.environ, **self._environment()}
        return subprocess.run(argv, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    # --- what happens in it ---

    @contextmanager
    def workers(self, count: int, *, part: str = "work", broker: str | None = None) -> Iterator[list[Program]]:
        """Run so many workers; they are ready when the block begins."""
        programs = [
            Program(
                [sys.executable, "-m", "tests.contract.queue.crew", part, self._data, self.folder],
                log=self.folder / f"worker-{next(self._names)}.log",
                cwd=ROOT,
                environment=self._environment(broker),
            )
            for _ in range(count)
        ]
        with running(programs):
            yield programs

    def release(self, *, held: bool = False) -> int:
        """Release to four new instances; return the deployment. Where it is held, hosts do not answer as yet."""
        (self.folder / "go").unlink(missing_ok=True)
        if not held:
            self.let_go()
        argv = [sys.executable, "-m", "tests.contract.queue.crew", "release", f"shop{next(self._names)}"]
        return int(self._run(argv).split()[-1])

    def let_go(self) -> None:
        """Let hosts answer."""
        (self.folder / "go").touch()

    def send(self, key: tuple[int, int]) -> None:
        """Send one more message about a slice."""
        make_app(self.broker).send_task(TASK, args=key)

    # --- what there is to see ---

    def wait_for_the_end(self, deployment: int) -> None:
        """Return once a release has succeeded."""
        query = "SELECT phase FROM store_deployment WHERE id = %s"
        until(lambda: self._fetch(query, deployment) == [("success",)], what=f"success of {deployment}", timeout_s=60)

    def slices(self, deployment: int) -> dict[tuple[int, int], str]:
        """Return the slices of a release, with the process that has each; empty where none has."""
        rows = self._fetch("SELECT number, owner FROM store_slice WHERE deployment_id = %s", deployment)
        return {(deployment, number): owner for number, owner in rows}

    def wait_for_owner(self, deployment: int, *, but_for: str = "") -> str:
        """Return the process that has a slice of a release, once one has."""
        found: list[str] = []

        def is_owned() -> bool:
            found[:] = [owner for owner in self.slices(deployment).values() if owner not in ("", but_for)]
            return bool(found)

        until(is_owned, what=f"an owner of {deployment}", timeout_s=30)
        return found[0]

    def arrived(self) -> list[tuple[int, int]]:
        """Return the slice of each message that the broker has brought to a worker."""
        return [(deployment, number) for _, deployment, number in self._notes("arrived")]

    def ran(self, deployment: int, verb: str) -> list[str]:
        """Return the instance of each *verb* that hosts were told for the instances of a release."""
        query = "SELECT g.name FROM store_deployment d JOIN store_group g ON g.id = d.group_id WHERE d.id = %s"  # ours
        ((group,),) = self._fetch(query, deployment)
        told = [(instance, its) for _, instance, its in self._notes("ran")]
        return sorted(instance for instance, its in told if its == verb and instance.startswith(f"{group}/"))

    def _notes(self, name: str) -> list[list[object]]:
        file = self.folder / name
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def _fetch(self, query: str, *values: object) -> list[tuple]:
        return self._connection.execute(query, values).fetchall()
