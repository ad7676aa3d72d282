"""Rollwave itself, as it is run: in one process, or distributed over workers and web processes."""

from __future__ import annotations

import shlex
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import psycopg

from demo.processes import Program, free_ports, until
from demo.services import Postgres, RabbitMQ, Redis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from demo.services import Service

BIN: Final = Path(sys.executable).parent

BROKERS: Final[Mapping[str, type[Service]]] = {"rabbitmq": RabbitMQ, "redis": Redis}

LEASE_S: Final = 4
"""After how long a distributed set-up takes a worker for dead, in seconds: less than by default, for the story."""


def answers(url: str) -> bool:
    """Say whether a GET of *url* succeeds."""
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


class Installation(ABC):
    """
    One Rollwave with all that it runs on, over the data directory ``rollwave`` of a folder.

    Args:
        root: The folder.

    Attributes:
        broker: The name of its message broker; None where it needs none.
        victim: What `crash` kills, for a person.
        afterwards: What brings the release back, for a person.
    """

    broker: str | None = None
    victim: str
    afterwards: str

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.data = self.root / "rollwave"

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Where the API listens."""

    @property
    def token(self) -> str:
        """The token that Rollwave made at its first start."""
        return (self.data / "token").read_text(encoding="utf-8").strip()

    def argv(self, *arguments: str) -> list[str]:
        """Return the command line that runs a command of the client against it."""
        return [str(BIN / "rollwave"), *arguments, "--data", str(self.data)]

    def line(self, *arguments: str) -> str:
        """Return the same for a person to copy."""
        return shlex.join(["./dev", "rollwave", *arguments, "--data", str(self.data)])

    def settings(self, text: str) -> None:
        """Write the settings file, before the start."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "rollwave.toml").write_text(text, encoding="utf-8")

    @abstractmethod
    def start(self) -> None:
        """Start whatever of it does not run; return once it serves."""

    @abstractmethod
    def stop(self) -> None:
        """Stop all of it."""

    @abstractmethod
    def crash(self, deployment: int) -> float:
        """``kill -9`` what drives *deployment*; return when it was dead, in seconds since the epoch."""

    @abstractmethod
    def recover(self) -> None:
        """Do what a supervisor must do until the release goes on."""

    def _program(self, name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Program:
        argv = [BIN / "rollwave", *arguments, "--data", self.data]
        return Program(argv, log=self.root / "logs" / f"{name}.log", environment=environment)


class Embedded(Installation):
    """API and engine in one process, on SQLite."""

    victim = "the engine"
    afterwards = "Starting it again, as a supervisor would"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.server = self._program("rollwave", "serve", "--port", "0")

    @property
    def endpoint(self) -> str:
        """Where the API listens: the server has chosen its port, and written it down."""
        return (self.data / "endpoint").read_text(encoding="utf-8").strip()

    def start(self) -> None:
        """Start ``rollwave serve``, where it does not run; return once it answers."""
        if self.server.is_running:
            return
        (self.data / "endpoint").unlink(missing_ok=True)
        self.server.start()
        until(self._is_up, what="the start of Rollwave")

    def _is_up(self) -> bool:
        self.server.check()
        return (self.data / "endpoint").exists() and answers(f"{self.endpoint}/health/ready")

    def stop(self) -> None:
        """Stop the server."""
        self.server.stop()

    def crash(self, deployment: int) -> float:  # noqa: ARG002  # there is one engine for all
        """``kill -9`` the server; what it was doing on hosts goes on."""
        self.server.crash()
        return time.time()

    def recover(self) -> None:
        """Start the server again."""
        self.start()


class Distributed(Installation):
    """
    PostgreSQL, a broker, workers and web processes.

    Args:
        root: The folder.
        broker: One of `BROKERS`.
        workers: How many workers.
        webs: How many web processes.
    """

    victim = "the worker that drives it"
    afterwards = "Another worker takes over, once it is sure that this one is gone"

    def __init__(self, root: Path, *, broker: str = "rabbitmq", workers: int = 2, webs: int = 2) -> None:
        super().__init__(root)
        self.broker = broker
        self.services: Mapping[str, Service] = {
            "postgres": Postgres(self.root / "postgres"),
            broker: BROKERS[broker](self.root / broker),
        }
        self.endpoints = [f"http://127.0.0.1:{port}" for port in free_ports(webs)]
        self.workers = [
            self._program(f"worker-{number}", "worker", environment=self.environment)
            for number in range(1, workers + 1)
        ]
        self.webs = [
            self._program(f"web-{number}", "web", "--port", endpoint.rpartition(":")[2], environment=self.environment)
            for number, endpoint in enumerate(self.endpoints, start=1)
        ]

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells its processes where database and broker are."""
        return {
            "ROLLWAVE_DATABASE_URL": self.services["postgres"].url,
            "ROLLWAVE_BROKER_URL": self.services[str(self.broker)].url,
        }

    @property
    def endpoint(self) -> str:
        """Where the API of the first web process listens; that of all others does as well."""
        return self.endpoints[0]

    def settings(self, text: str) -> None:
        """Write the settings file, before the start."""
        super().settings(f"[engine]\nlease_s = {LEASE_S}\n{text}")

    def start(self) -> None:
        """Start whatever of it does not run: services, the schema, workers, web processes; return once all serve."""
        for service in self.services.values():
            if not service.is_running:
                service.start()
        self._migrate()
        for program in (*self.workers, *self.webs):
            if not program.is_running:
                program.start()
        until(self._is_up, what=f"the start of Rollwave ({self.root / 'logs'})", timeout_s=120)

    def _migrate(self) -> None:
        migrate = self._program("migrate", "migrate", environment=self.environment)
        migrate.start()
        if migrate.wait() != 0:
            migrate.check()  # says why

    def _is_up(self) -> bool:
        for program in (*self.workers, *self.webs):
            program.check()
        return all(answers(f"{endpoint}/health/ready") for endpoint in self.endpoints)

    def stop(self) -> None:
        """Stop all of it, in reverse."""
        for program in (*self.webs, *self.workers):
            program.stop()
        for service in reversed([*self.services.values()]):
            service.stop()

    def crash(self, deployment: int) -> float:
        """``kill -9`` the worker that has a slice of *deployment*; what it was doing on hosts goes on."""
        self.worker_of(deployment).crash()
        return time.time()

    def recover(self) -> None:
        """Do nothing: the other workers see to it."""

    def worker_of(self, deployment: int) -> Program:
        """Wait until a worker has a slice of *deployment*, and return that worker."""
        found: list[Program] = []

        def is_found() -> bool:
            owners = self._owners(deployment)
            found.extend(one for one in self.workers if any(str(one.pid) in owner.split(":") for owner in owners))
            return bool(found)

        until(is_found, what=f"work of a worker on deployment {deployment}", every_s=0.01)
        return found[0]

    def _owners(self, deployment: int) -> list[str]:
        with psycopg.connect(self.services["postgres"].url) as connection:
            rows = connection.execute(
                "SELECT owner FROM store_slice WHERE deployment_id = %s AND NOT closed AND lease_until > now()",
                [deployment],
            )
            return [owner for (owner,) in rows]
