"""The lab of a chaos run: hosts in namespaces, HAProxy before them, Rollwave over them, clients in front."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx

from demo.chaos.host import APP, CONTROL, PORT, Host, write_way
from demo.chaos.installation import Scattered
from demo.chaos.network import Network, remove_network
from demo.lab import GROUP, Lab
from demo.processes import LabError, Program, free_ports, until
from rollwave.balancers.haproxy import parse_servers
from rollwave.ports.balancer import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SITES: Final = {"north": 4, "south": 4}
CONFIG: Final = {"max_unavailable_percent": 50, "startup_timeout_s": 20, "bake_policy": "auto"}
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
        way = root / "python-on-host"
        super().__init__(root, sites=SITES, config=CONFIG, rollwave=Scattered(root, broker=broker, way=way))
        sites = {server.name: server.site for server in self.servers}
        self.network = Network(sites)
        self.hosts = [
            Host(name, site=sites[name], address=address, root=root / "hosts")
            for name, address in self.network.addresses.items()
        ]
        self.haproxy = Program(
            ["haproxy", "-db", "-f", root / "haproxy.cfg"],
            log=root / "logs" / "haproxy.log",
            environment={"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"},
        )
        self.load = "demo.chaos.load"
        (self.client_port,) = free_ports(1)

    # --- life ---

    def start(self) -> None:
        """Bring up network, hosts, balancer and Rollwave."""
        self.network.build()
        write_way(self.rollwave.way, hosts=self.root / "hosts")
        for host in self.hosts:
            host.build()
            host.boot()
        self._write_haproxy()
        self.start_haproxy()
        self.rollwave.settings(f'[balancers.edge]\nkind = "haproxy"\nsocket = "{self.admin_socket}"\n')
        self.rollwave.start()

    def stop(self) -> None:
        """Stop everything, in reverse, and take the network away."""
        try:
            super().stop()
            self.haproxy.stop()
        finally:
            for host in self.hosts:
                host.remove()
            remove_network()

    def build(self, version: str, **_named: Any) -> Path:
        """Lay out a build, with as much beside the application as a real one has."""
        folder = super().build(version)
        (folder / "payload").write_bytes(os.urandom(PAYLOAD_BYTES))
        return folder

    # --- HAProxy ---

    @property
    def admin_socket(self) -> Path:
        """HAProxy's runtime API."""
        return self.root / "haproxy.sock"

    def _write_haproxy(self) -> None:
        members = "\n".join(f"  server {host.name} {host.address}:{PORT}" for host in self.hosts)
        # As docs/balancers.md has it; what went wrong with a request is logged, under the client's own name for it.
        (self.root / "haproxy.cfg").write_text(
            f"""global
  stats socket {self.admin_socket} mode 660 level admin
  log stdout format raw local0
defaults
  mode http
  log global
  option dontlog-normal
  timeout connect 1s
  timeout client 30s
  timeout server 8s
  timeout check 2s
  option redispatch 1
frontend clients
  bind 127.0.0.1:{self.client_port}
  capture request header X-Request-Id len 20
  log-format "request %[capture.req.hdr(0)] %s %ST %ts %rc"
  default_backend {GROUP}
backend {GROUP}
  balance roundrobin
  option httpchk GET /healthz
  default-server check inter 500ms fall 3 rise 1
{members}
""",
            encoding="utf-8",
        )

    def start_haproxy(self) -> None:
        """Start HAProxy; return once it takes connections."""
        self.haproxy.start()
        until(self._haproxy_answers, what="the start of HAProxy")

    def _haproxy_answers(self) -> bool:
        self.haproxy.check()
        try:
            self.traffic()
            socket.create_connection(("127.0.0.1", self.client_port), timeout=2).close()
        except OSError:
            return False
        return True

    def traffic(self) -> Mapping[str, bool]:
        """Return which hosts HAProxy sends requests to, by its own word."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.admin_socket))
            connection.sendall(f"show stat {GROUP} 4 -1\n".encode())
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return {server.name: server.traffic is Traffic.IN for server in parse_servers(answer.decode())}

    def servers_of_requests(self) -> Mapping[str, str]:
        """Return where HAProxy sent the requests of which it says that something was wrong with them."""
        found = {}
        for line in self.haproxy.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("request "):
                _, request, server, *_ = line.split()
                found[request] = server
        return found

    # --- Rollwave ---

    def spec(self) -> dict[str, Any]:
        """Return the whole fleet as the spec that ``rollwave apply`` takes."""
        control = f"{self.root}/hosts/{{server}}/{CONTROL}"
        servers = [{"name": host.name, "address": host.address, "site": host.site} for host in self.hosts]
        group = {
            "name": GROUP,
            "app": APP,
            "environment": "chaos",
            "port": PORT,
            "deploy_path": f"{self.root}/hosts/{{server}}/disk/{APP}",
            "start": [control, "start"],
            "stop": [control, "stop"],
            "drain_timeout_s": 15,
            "balancer": "edge",
            "config": dict(self.config),
            "instances": [host.name for host in self.hosts],
        }
        return {"apps": [{"name": APP}], "servers": servers, "groups": [group]}

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

    def seen_by_clients(self) -> tuple[int, list[dict[str, Any]]]:
        """Return how many requests were sent until about now, and those that failed."""
        sent, failed = 0, []
        text = self.load_file.read_text(encoding="utf-8") if self.load_file.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):
                one = json.loads(line)
                sent = one.get("sent", sent)
                failed += [one] if "id" in one else []
        return sent, failed
