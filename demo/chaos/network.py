"""
The network of a chaos run: a bridge, a network namespace per machine, and in each an nft table that cuts connections.

Hosts, HAProxys, workers and web processes have a machine each; database, broker and clients are on this one. All have
addresses of 198.18.0.0/15, which are set aside for tests (RFC 2544). Nothing leaves this machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, contextmanager, suppress
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
HERE: Final = f"{NETWORK}.1"
"""This machine, as the others see it: database and broker are here."""

NAMESPACES: Final = Path("/run/netns")

TOOLS: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
}
"""What is run here, and the Debian package that brings it."""

RULES: Final = f"""
table inet {TABLE} {{
    set cut {{ type ipv4_addr; }}
    set cut_services {{ type ipv4_addr . inet_service; }}
    chain leaving {{
        type filter hook output priority 0;
        ip daddr @cut drop
        ip daddr . tcp dport @cut_services drop
    }}
    chain arriving {{
        type filter hook input priority 0;
        ip saddr @cut drop
        ip saddr . tcp sport @cut_services drop
    }}
}}
"""


def require_tools() -> None:
    """Raise LabError where this user may not build networks, or a program for it is missing."""
    if os.geteuid() != 0:
        raise LabError("network namespaces, nft and tmpfs need root: run ./dev chaos as root, on Linux")
    for name, package in TOOLS.items():
        if shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is None:
            raise LabError(f"{name} was not found: install the Debian package {package}")


class Network:
    """
    Machines on one bridge with this one.

    Args:
        machines: Their names, each once.
    """

    def __init__(self, machines: Iterable[str]) -> None:
        self.addresses = {machine: f"{NETWORK}.{number}" for number, machine in enumerate(machines, start=11)}

    def build(self) -> None:
        """Build it; what an earlier run left is removed first."""
        remove_network()
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{HERE}/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        for machine, address in self.addresses.items():
            self._add(machine, address)

    def _add(self, machine: str, address: str) -> None:
        namespace, outside = PREFIX + machine, f"{BRIDGE}-{address.rpartition('.')[2]}"
        _run("ip", "netns", "add", namespace)
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _run("ip", "link", "set", outside, "master", BRIDGE, "up")
        _run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        _run("ip", "-n", namespace, "link", "set", "eth0", "up")
        _run(*inside(machine, "nft", "-f", "-"), text=RULES)

    @contextmanager
    def cut(self, machine: str, *others: str) -> Iterator[None]:
        """Drop every packet between *machine* and each of *others*, in both directions, inside the block."""
        with ExitStack() as stack:
            for other in others:
                stack.enter_context(_element(machine, "cut", self.addresses[other]))
            yield

    @contextmanager
    def cut_off(self, machine: str) -> Iterator[None]:
        """Drop every packet between *machine* and all the others, inside the block."""
        with _element(machine, "cut", ", ".join(self.addresses.values())):
            yield

    @contextmanager
    def without_service(self, machine: str, port: int) -> Iterator[None]:
        """Drop every packet between *machine* and what listens on *port* of this one, inside the block."""
        with _element(machine, "cut_services", f"{HERE} . {port}"):
            yield


def inside(machine: str, *argv: str | Path) -> list[str]:
    """Return the command line that runs a program on *machine*."""
    return ["nsenter", f"--net={NAMESPACES / (PREFIX + machine)}", *map(str, argv)]


def processes_on(machine: str) -> set[int]:
    """Return every process of *machine*."""
    return _processes_in(NAMESPACES / (PREFIX + machine))


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


@contextmanager
def _element(machine: str, name: str, element: str) -> Iterator[None]:
    change = [TABLE, name, f"{{ {element} }}"]
    _run(*inside(machine, "nft", "add", "element", "inet", *change))
    try:
        yield
    finally:
        _run(*inside(machine, "nft", "delete", "element", "inet", *change))


def _run(*argv: str, text: str | None = None, is_checked: bool = True) -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode and is_checked:
        raise LabError(f"{' '.join(argv)} failed: {done.stderr.strip()}")
