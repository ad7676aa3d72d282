"""The lab of a chaos run: hosts, two HAProxys before them and clients in front, Rollwave over all of it."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx

from demo.chaos.edge import Edge
from demo.chaos.host import APP, PORT, Host
from demo.chaos.installation import WEBS, WORKERS, Scattered
from demo.chaos.network import Network, remove_network
from demo.chaos.ssh import Keys
from demo.lab import GROUP, Lab
from demo.processes import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SITES: Final = {"north": 4, "south": 4}
EDGES: Final = ("edge-1", "edge-2")
CONFIG: Final = {"max_unavailable_percent": 50, "startup_timeout_s": 20, "bake_policy": "auto"}
LIMIT: Final = 4
"""How many of the hosts may be out of traffic by that."""

PAYLOAD_BYTES: Final = 1 << 20
"""Beside the application, so that a version does not fit on a disk that is full."""

API_S: Final = 60.0
"""How long the harness asks the API again, in seconds: with the database killed nobody answers for some seconds."""


class ChaosLab(Lab):
    """
    Everything that a chaos run runs, below one folder.

    Args:
        root: The folder.
        broker: One of `demo.installation.BROKERS`.
    """

    rollwave: Scattered

    def __init__(self, root: Path, *, broker: str) -> None:
        sites = {f"{site[0]}{number}": site for site, count in SITES.items() for number in range(1, count + 1)}
        self.network = Network([*sites, *EDGES, *WORKERS, *WEBS])
        addresses = self.network.addresses
        rollwave = Scattered(root, broker=broker, addresses=addresses)
        super().__init__(root, sites=SITES, config=CONFIG, rollwave=rollwave)
        self.keys = Keys(root / "ssh")
        self.hosts = [
            Host(name, site=site, address=addresses[name], root=root / "hosts", keys=self.keys)
            for name, site in sites.items()
        ]
        self.edges = [Edge(name, address=addresses[name], root=root) for name in EDGES]
        self.load = "demo.chaos.load"

    # --- life ---

    @property
    def url(self) -> str:
        """Where clients of the application connect: all HAProxys, with commas between."""
        return ",".join(edge.url for edge in self.edges)

    def start(self) -> None:
        """Bring up network, hosts, HAProxys and Rollwave."""
        self.network.build()
        self.keys.make()
        for host in self.hosts:
            host.build(group=GROUP, edges={edge.name: edge.socket for edge in self.edges})
            host.boot()
        for edge in self.edges:
            edge.configure(self.hosts)
            edge.start()
        runtime_apis = [edge.admin for edge in self.edges]
        self.rollwave.settings(
            f'[balancers.edge]\nkind = "haproxy"\nsocket = {json.dumps(runtime_apis)}\n'
            f'[executors.hosts]\nkind = "ssh"\nidentity = "{self.keys.identity}"\n'
            f'known_hosts = "{self.keys.known_hosts}"\npython = "{sys.executable}"\n'
        )
        self.rollwave.start()

    def stop(self) -> None:
        """Stop everything, in reverse, and take the network away."""
        try:
            super().stop()
            for edge in self.edges:
                edge.program.stop()
        finally:
            for host in self.hosts:
                host.remove()
            remove_network()

    def build(self, version: str, **_named: Any) -> Path:
        """Lay out a build, with as much beside the application as a real one has."""
        folder = super().build(version)
        (folder / "payload").write_bytes(os.urandom(PAYLOAD_BYTES))
        return folder

    # --- Rollwave ---

    def spec(self) -> dict[str, Any]:
        """Return the whole fleet as the spec that ``rollwave apply`` takes."""
        hosts = self.root / "hosts"
        servers = [{"name": host.name, "address": host.address, "site": host.site} for host in self.hosts]
        group = {
            "name": GROUP,
            "app": APP,
            "environment": "chaos",
            "port": PORT,
            "deploy_path": f"{hosts}/{{server}}/disk/{APP}",
            "start": Host.control(hosts, "start"),
            "stop": Host.control(hosts, "stop"),
            "drain_timeout_s": 15,
            "executor": "hosts",
            "balancer": "edge",
            "config": dict(self.config),
            "instances": [host.name for host in self.hosts],
        }
        return {"apps": [{"name": APP}], "servers": servers, "groups": [group]}

    def wanted(self) -> Mapping[str, bool]:
        """Return which hosts are to be in traffic, by Rollwave's flags."""
        return {one["server"]: one["in_traffic"] for one in self.ask(f"/api/v1/groups/{GROUP}")["instances"]}

    def push(self, version: str) -> None:
        """Build and push a package."""
        self.cli("package", "push", str(self.build(version)), "--app", APP, "--version", version)

    def ask(self, path: str) -> Any:
        """Return what the API answers to a GET, by whichever web process answers."""
        return self._request("GET", path)

    def tell(self, path: str, body: Mapping[str, object]) -> Any:
        """POST something; it is done once, however often it had to be sent. None where it was refused."""
        return self._request("POST", path, json=dict(body), key=str(uuid.uuid4()))

    def _request(self, method: str, path: str, *, json: object = None, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {self.rollwave.token}"} | ({"Idempotency-Key": key} if key else {})
        deadline = time.monotonic() + API_S
        while time.monotonic() < deadline:
            for endpoint in self.rollwave.endpoints:
                try:
                    answer = httpx.request(method, endpoint + path, headers=headers, json=json, timeout=5)
                except httpx.HTTPError:
                    continue
                if answer.is_success:
                    return answer.json()
                if answer.status_code == httpx.codes.CONFLICT:
                    return None
                if answer.is_client_error:
                    raise LabError(f"{method} {path}: {answer.status_code} {answer.text}")
            time.sleep(0.2)
        raise LabError(f"{method} {path}: no web process answered within {API_S:g} s")

    # --- clients ---

    def seen_by_clients(self) -> list[dict[str, Any]]:
        """Return what the clients have written down until now: see `demo.chaos.load`."""
        text = self.load_file.read_text(encoding="utf-8") if self.load_file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
