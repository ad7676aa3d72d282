"""Rollwave as a chaos run has it: distributed, each worker with an address of its own for database and broker."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString
from urllib.parse import urlsplit

import psycopg

from demo.chaos.network import service_address
from demo.installation import Distributed
from demo.processes import Program
from rollwave.packages.signing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNING_KEY_NAME: Final = "signing.key"
"""As `rollwave.bootstrap` calls it, which can be imported only where Django is set up."""


class Scattered(Distributed):
    """
    PostgreSQL, a broker, two web processes, and two workers that reach hosts inside the hosts' own networks.

    Args:
        root: The folder.
        broker: One of `demo.installation.BROKERS`.
        way: The interpreter that workers run the host driver with: see `demo.chaos.host.write_way`.
    """

    def __init__(self, root: Path, *, broker: str, way: Path) -> None:
        super().__init__(root, broker=broker)
        self.way = way
        self.workers = [self._worker(number) for number in range(1, len(self.workers) + 1)]

    def settings(self, text: str) -> None:
        """Write the settings file and make the key pair, before the start: our workers read it before they wire."""
        super().settings(f'[log]\nformat = "json"\n{text}')
        keys = self.data / "keys"
        keys.mkdir(mode=0o700)
        SigningKey.generate().save(keys / SIGNING_KEY_NAME)

    def _worker(self, number: int) -> Program:
        own = {name: url.replace("127.0.0.1", service_address(number)) for name, url in self.environment.items()}
        argv: list[str | Path] = [sys.executable, "-m", "demo.chaos.worker", self.data, self.way]
        return Program(
            argv,
            log=self.root / "logs" / f"worker-{number}.log",
            environment={**own, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def ports(self) -> Mapping[str, int]:
        """Return where database and broker listen on 127.0.0.1, as "database" and "broker"."""
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
                pid = int(owner.rpartition(":")[2])
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
