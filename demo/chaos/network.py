"""
The network of a chaos run: a bridge, a network namespace per host, and an nft table that cuts what it is told to cut.

Hosts have addresses of 198.18.0.0/15, which are set aside for tests (RFC 2544). Nothing leaves this machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo.processes import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BRIDGE: Final = "rwchaos"
TABLE: Final = "rollwave_chaos"
PREFIX: Final = "rwchaos-"
"""Of the names of our namespaces."""

NETWORK: Final = "198.18.77"
NAMESPACES: Final = Path("/run/netns")

TOOLS: Final = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}
"""What is run here, and the Debian package that brings it."""

RULES: Final = f"""
table inet {TABLE} {{
    set cut_hosts {{ type ipv4_addr; }}
    set cut_services {{ type ipv4_addr . inet_service; }}
    # Every worker has an address of its own for what listens on 127.0.0.1, so that each can be cut off alone.
    chain services {{
        type nat hook output priority -100;
        ip daddr 127.9.0.0/24 dnat ip to 127.0.0.1
    }}
    chain leaving {{
        type filter hook output priority -150;  # while the worker's own address is still in the packet
        ip daddr @cut_hosts drop
        ip daddr . tcp dport @cut_services drop
    }}
    chain arriving {{
        type filter hook input priority 0;
        ip saddr @cut_hosts drop
        ip saddr . tcp sport @cut_services drop
    }}
}}
"""


def require_tools() -> None:
    """Raise LabError where this user may not build networks, or a program for it is missing."""
    if os.geteuid() != 0:
        raise LabError("network namespaces, nft and tmpfs need root: run ./dev chaos as root, on Linux")
    for name, package in TOOLS.items():
        if shutil.which(name) is None:
            raise LabError(f"{name} was not found: install the Debian package {package}")


def service_address(worker: int) -> str:
    """Return where a worker, by its number from 1, finds the services of 127.0.0.1."""
    return f"127.9.0.{worker}"


class Network:
    """
    Namespaces by the names of hosts, on one bridge with this machine.

    Args:
        hosts: The names, each once.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self.addresses = {host: f"{NETWORK}.{number}" for number, host in enumerate(hosts, start=11)}

    def build(self) -> None:
        """Build it; what an earlier run left is removed first."""
        remove_network()
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        for host, address in self.addresses.items():
            self._add(host, address)
        _run("nft", "-f", "-", text=RULES)

    def _add(self, host: str, address: str) -> None:
        namespace, outside = PREFIX + host, f"{BRIDGE}-{host}"
        _run("ip", "netns", "add", namespace)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _run("ip", "link", "set", outside, "master", BRIDGE, "up")
        _run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        _run("ip", "-n", namespace, "link", "set", "eth0", "up")

    @contextmanager
    def without_host(self, host: str) -> Iterator[None]:
        """Drop every packet between this machine and *host*, in both directions, inside the block."""
        with _element("cut_hosts", self.addresses[host]):
            yield

    @contextmanager
    def without_service(self, worker: int, port: int) -> Iterator[None]:
        """Drop every packet between a worker and what listens on *port* of 127.0.0.1, inside the block."""
        with _element("cut_services", f"{service_address(worker)} . {port}"):
            yield


def namespace_path(host: str) -> Path:
    """Return the file that stands for the namespace of *host*."""
    return NAMESPACES / (PREFIX + host)


def processes_in(host: str) -> set[int]:
    """Return every process of *host*."""
    return _processes_in(namespace_path(host))


def _processes_in(namespace: Path) -> set[int]:
    try:
        wanted = f"net:[{namespace.stat().st_ino}]"
    except FileNotFoundError:
        return set()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            if str((process / "ns/net").readlink()) == wanted:
                found.add(int(process.name))
    return found


def remove_network() -> None:
    """Remove all of it, with the processes in its namespaces; nothing where there is none."""
    for namespace in NAMESPACES.glob(PREFIX + "*"):
        while pids := _processes_in(namespace):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        _run("ip", "netns", "delete", namespace.name)
    if Path("/sys/class/net", BRIDGE).exists():
        _run("ip", "link", "delete", BRIDGE)
    for device in Path("/sys/class/net").glob(BRIDGE + "-*"):
        # They go with their namespaces, but not at the same instant.
        _run("ip", "link", "delete", device.name, is_checked=False)
    _run("nft", "delete", "table", "inet", TABLE, is_checked=False)


@contextmanager
def _element(name: str, element: str) -> Iterator[None]:
    _run("nft", "add", "element", "inet", TABLE, name, f"{{ {element} }}")
    try:
        yield
    finally:
        _run("nft", "delete", "element", "inet", TABLE, name, f"{{ {element} }}")


def _run(*argv: str, text: str | None = None, is_checked: bool = True) -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode and is_checked:
        raise LabError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
