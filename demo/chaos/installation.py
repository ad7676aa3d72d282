"""Rollwave as a chaos run has it: distributed, each worker and each web process on a machine of its own."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, LiteralString
from urllib.parse import urlsplit

import psycopg

from demo.chaos.network import HERE, inside
from demo.installation import BIN, BROKERS, Distributed
from demo.processes import Program
from demo.services import Postgres

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WORKERS: Final = ("worker-1", "worker-2")
WEBS: Final = ("web-1", "web-2")
WEB_PORT: Final = 8080


class Scattered(Distributed):
    """
    PostgreSQL and a broker here, two workers and two web processes elsewhere.

    Args:
        root: The folder.
        broker: One of `demo.installation.BROKERS`.
        addresses: Of the machines, by name.
    """

    def __init__(self, root: Path, *, broker: str, addresses: Mapping[str, str]) -> None:
        super().__init__(root, broker=broker)
        self.services = {
            "postgres": Postgres(self.root / "postgres", address=HERE),
            broker: BROKERS[broker](self.root / broker, address=HERE),
        }
        self.endpoints = [f"http://{addresses[name]}:{WEB_PORT}" for name in WEBS]
        self.workers = [self._on(name, "worker") for name in WORKERS]
        self.webs = [self._on(name, "web", "--host", addresses[name], "--port", str(WEB_PORT)) for name in WEBS]

    def _on(self, machine: str, *arguments: str) -> Program:
        argv = inside(machine, BIN / "rollwave", *arguments, "--data", self.data)
        return Program(argv, log=self.root / "logs" / f"{machine}.log", environment=self.environment)

    def settings(self, text: str) -> None:
        """Write the settings file, before the start."""
        super().settings(f'[log]\nformat = "json"\n{text}')

    def ports(self) -> Mapping[str, int]:
        """Return where database and broker listen, as "database" and "broker"."""
        database, broker = self.services["postgres"], self.services[str(self.broker)]
        return {"database": urlsplit(database.url).port or 0, "broker": urlsplit(broker.url).port or 0}

    def seq(self, deployment: int) -> int:
        """Return the number of the newest event of *deployment*; 0 where the database does not answer."""
        rows = self._read("SELECT seq FROM store_deployment WHERE id = %s", deployment)
        return int(rows[0][0]) if rows else 0

    def slices_at_work(self, deployment: int) -> Mapping[int, frozenset[int]]:
        """Return the slices of *deployment* that workers have, by the numbers of their processes."""
        rows = self._read(
            "SELECT owner, number FROM store_slice WHERE deployment_id = %s AND NOT closed AND lease_until > now()",
            deployment,
        )
        held: dict[int, frozenset[int]] = {}
        for owner, number in rows:
            if owner:
                # Host, process, and what tells it from others of that number.
                pid = int(owner.split(":")[-2])
                held[pid] = held.get(pid, frozenset()) | {number}
        return held

    def takeovers(self, deployment: int) -> list[tuple[float, int]]:
        """Return when workers took over slices of *deployment* from others, and which."""
        found = []
        for worker in self.workers:
            for line in worker.log.read_text(encoding="utf-8", errors="replace").splitlines():
                if '"slice_taken_over"' in line:
                    said = json.loads(line)
                    if said["deployment"] == deployment:
                        found.append((datetime.fromisoformat(said["timestamp"]).timestamp(), int(said["slice"])))
        return found

    def _read(self, statement: LiteralString, deployment: int) -> list[tuple[Any, ...]]:
        try:
            with psycopg.connect(self.services["postgres"].url, connect_timeout=2) as connection:
                return connection.execute(statement, [deployment]).fetchall()
        except psycopg.Error:
            return []
