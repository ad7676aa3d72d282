"""One of the HAProxys of a chaos run, on a machine of its own; clients use whichever takes their connection."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from demo.chaos.host import PORT
from demo.chaos.network import inside
from demo.lab import GROUP
from demo.processes import Program, until
from rollwave.balancers.haproxy import parse_servers
from rollwave.ports.balancer import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from demo.chaos.host import Host

CLIENT_PORT: Final = 8000
ADMIN_PORT: Final = 9999

END: Final = "\n\n"
"""How an answer of the runtime API ends that is complete."""

TOLD_OUT: Final = ("MAINT", "DRAIN")
"""How HAProxy calls a server that somebody took out; "DOWN" is one that its own check found dead."""


@dataclass(frozen=True)
class View:
    """
    What an HAProxy says at a moment.

    Attributes:
        at: When it was asked, in Unix seconds.
        told_out: The hosts that it was told to keep out of traffic.
        serving: The hosts that it sends requests to.
    """

    at: float
    told_out: frozenset[str]
    serving: frozenset[str]


class Edge:
    """
    One HAProxy.

    Args:
        name: Of its machine.
        address: Of its machine.
        root: The folder of all.
    """

    def __init__(self, name: str, *, address: str, root: Path) -> None:
        self.name = name
        self.address = address
        self.socket = root / f"{name}.sock"
        """Its runtime API on this machine, for us alone: nothing that we cut off gets between."""
        self._config = root / f"{name}.cfg"
        self.program = Program(
            inside(name, "haproxy", "-db", "-f", self._config),
            log=root / "logs" / f"{name}.log",
            environment={"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"},
        )

    @property
    def admin(self) -> str:
        """Its runtime API for Rollwave, over the network."""
        return f"{self.address}:{ADMIN_PORT}"

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://{self.address}:{CLIENT_PORT}"

    def configure(self, hosts: Sequence[Host]) -> None:
        """Write its configuration."""
        members = "\n".join(f"  server {host.name} {host.address}:{PORT}" for host in hosts)
        # As docs/balancers.md has it; and a GET that a host did not answer goes to another one, which HTTP allows.
        # What went wrong with a request is logged, under the client's own name for it.
        self._config.write_text(
            f"""global
  stats socket {self.socket} mode 660 level admin
  stats socket ipv4@{self.admin} level admin
  log stdout format raw local0
defaults
  mode http
  log global
  option dontlog-normal
  timeout connect 1s
  timeout client 30s
  timeout server 4s
  timeout check 2s
  option redispatch 1
  retries 8
  retry-on conn-failure empty-response response-timeout
frontend clients
  bind {self.address}:{CLIENT_PORT}
  capture request header X-Request-Id len 20
  log-format "request %[capture.req.hdr(0)] %s %ST %ts %rc"
  default_backend {GROUP}
backend {GROUP}
  balance roundrobin
  http-request disable-l7-retry unless METH_GET
  option httpchk GET /healthz
  default-server check inter 500ms fall 3 rise 1
{members}
""",
            encoding="utf-8",
        )

    def start(self) -> None:
        """Start it; return once it takes connections."""
        self.program.start()
        until(self._answers, what=f"the start of {self.name}")

    def _answers(self) -> bool:
        self.program.check()
        try:
            self.view()
            socket.create_connection((self.address, CLIENT_PORT), timeout=2).close()
        except OSError:
            return False
        return True

    def view(self, *, timeout_s: float = 5.0) -> View:
        """Return what it does now; OSError where it does not answer."""
        at = time.time()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(self.socket))
            connection.sendall(f"show stat {GROUP} 4 -1\n".encode())
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()
        if not answer.endswith(END):
            raise ConnectionError(f"{self.name} died while it answered")
        servers = parse_servers(answer)
        return View(
            at=at,
            told_out=frozenset(one.name for one in servers if one.status.startswith(TOLD_OUT)),
            serving=frozenset(one.name for one in servers if one.traffic is Traffic.IN),
        )

    def servers_of_requests(self) -> Mapping[str, str]:
        """Return where it sent the requests of which it says that something was wrong with them."""
        found = {}
        for line in self.program.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("request "):
                _, request, server, *_ = line.split()
                found[request] = server
        return found
