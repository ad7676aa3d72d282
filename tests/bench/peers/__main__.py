"""
Rollwave beside its peers: ``./dev bench peers [--hosts N ...] [--only NAME ...]``.

The same release to real sshds (or minions) on loopback, in the same batches: pull out of HAProxy, fetch 5 MB, check,
unpack, switch, start anew, wait for health, put back. By Rollwave over SSH and over Salt, by Ansible, by Salt states,
and by the servers alone (the limit, see ``limit.py``). Each begins with the version before on every server, which it
has brought there itself. Then the rollback of the whole group, in two batches; Rollwave also releases once more, with
its connections open, and once with packages fetched ahead.

Seconds are from the moment at which the release was asked for to its end: for Ansible and Salt the whole command, for
Rollwave what its server says, and as ``command_s`` from the start of the command that deploys, which is a Python. The
last line is one JSON object about the largest fleet, with every fleet in ``fleets``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.peers import ansible, limit, salt_states
from tests.bench.peers.fleet import Fleet
from tests.bench.peers.rollwave import over_salt, over_ssh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.peers.rollwave import Rollwave

HOSTS = (20, 50)


def the_limit(hosts: int) -> dict[str, Any]:
    with _fleet(hosts) as fleet:
        driven = limit.Driven(fleet)
        driven.release("1.0")
        driver_s = driven.release("1.1")
    with _fleet(hosts) as fleet:
        limit.script(fleet, "1.0", fleet.publish("1.0"))
        script_s = limit.script(fleet, "1.1", fleet.publish("1.1"))
        way_s = limit.way(fleet, fleet.files / "1.1.tar")
    return {"seconds": round(driver_s, 2), "script_s": round(script_s, 2), "way_s": round(way_s, 2)}


def rollwave_ssh(hosts: int) -> dict[str, Any]:
    with _fleet(hosts) as fleet:
        return _by_rollwave(over_ssh(fleet))


def rollwave_salt(hosts: int) -> dict[str, Any]:
    with _fleet(hosts) as fleet, _salt(fleet) as salt:
        return _by_rollwave(over_salt(fleet, salt))


def _by_rollwave(rollwave: Rollwave) -> dict[str, Any]:
    with rollwave.serving():
        rollwave.register("1.0", "1.1", "1.2", "1.3")
        rollwave.release("1.0")
    # Nothing is open, as after a quiet night: every connection is part of what is measured.
    with rollwave.serving():
        told = rollwave.release("1.1")
        told["again"] = rollwave.release("1.2")
        told["prestaged"] = rollwave.release("1.3", "--set", "prestage=true", *PRESTAGE)
        told["rollback"] = rollwave.roll_back("1.2")
    return told


PRESTAGE = ("--set", "canary_count=1", "--set", "bake_policy=auto", "--set", "bake_min_s=0")
"""Servers fetch ahead while a canary bakes."""


def by_ansible(hosts: int) -> dict[str, Any]:
    with _fleet(hosts) as fleet:
        archive = fleet.publish("1.0")
        ansible.release(fleet, "1.0", archive)
        subprocess.run(["/usr/bin/pkill", "-f", f"ssh:.*{fleet.folder}"], check=False)
        told = ansible.release(fleet, "1.1", fleet.publish("1.1"))
        told["rollback"] = ansible.release(fleet, "1.0", archive, batch=-(-hosts // 2))
    return told


def by_salt_states(hosts: int) -> dict[str, Any]:
    with _fleet(hosts) as fleet, _salt(fleet) as salt:
        archive = fleet.publish("1.0")
        salt_states.release(salt, fleet, "1.0", archive)
        told = salt_states.release(salt, fleet, "1.1", fleet.publish("1.1"))
        told["rollback"] = salt_states.release(salt, fleet, "1.0", archive, batch=-(-hosts // 2))
    return told


@contextmanager
def _fleet(hosts: int) -> Iterator[Fleet]:
    # Sockets are below it, whose paths may not be long.
    with tempfile.TemporaryDirectory(prefix="rw-peers-") as folder, Fleet(Path(folder), hosts) as fleet:
        yield fleet


@contextmanager
def _salt(fleet: Fleet) -> Iterator[Any]:
    with (
        tempfile.TemporaryDirectory(prefix="rw-salt-") as folder,
        salt_states.lab(Path(folder), [one.name for one in fleet.servers]) as lab,
    ):
        yield lab


PEERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "limit": the_limit,
    "rollwave_ssh": rollwave_ssh,
    "rollwave_salt": rollwave_salt,
    "ansible": by_ansible,
    "salt_states": by_salt_states,
}


def measure(hosts: int, names: list[str]) -> dict[str, Any]:
    """Let each release to *hosts* servers, one after the other; return what it took, by name."""
    told = {}
    for name in names:
        told[name] = PEERS[name](hosts)
        _say(f"{hosts} hosts, {name}: {json.dumps(told[name])}")
    return told


def summary(hosts: int, told: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that count, with ratios where there is something to compare with."""
    seconds = {f"{name}_s": one["seconds"] for name, one in told.items()}
    ratios = {
        f"{name}_to_limit": round(one["seconds"] / told["limit"]["seconds"], 2)
        for name, one in told.items()
        if name != "limit" and "limit" in told
    }
    faster = {
        f"{peer}_to_{name}": round(told[peer]["seconds"] / told[name]["seconds"], 1)
        for name in ("rollwave_ssh", "rollwave_salt")
        for peer in ("ansible", "salt_states")
        if name in told and peer in told
    }
    key = "out_of_traffic_s_p50"
    more = {f"{name}_{key}": one[key] for name, one in told.items() if key in one}
    more |= {f"{name}_command_s": one["command_s"] for name, one in told.items() if "command_s" in one}
    if "limit" in told:
        more["limit_script_s"] = told["limit"]["script_s"]
        more["limit_way_s"] = told["limit"]["way_s"]
    more |= {f"{name}_rollback_s": one["rollback"]["seconds"] for name, one in told.items() if "rollback" in one}
    for name, one in told.items():
        if "prestaged" in one:
            again_s = one["again"]["seconds"]
            more[f"{name}_again_s"] = again_s
            if "limit" in told:
                more[f"{name}_again_to_limit"] = round(again_s / told["limit"]["seconds"], 2)
            if "ansible" in told:
                more[f"ansible_to_{name}_again"] = round(told["ansible"]["seconds"] / again_s, 1)
            more[f"{name}_prestaged_{key}"] = one["prestaged"][key]
    cpu = {
        f"{name}_cpu_ms_per_host": one["controller_cpu_ms_per_host"] for name, one in told.items() if name != "limit"
    }
    return {"hosts": hosts, **seconds, **ratios, **faster, **cpu, **more}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench peers", description=__doc__)
    parser.add_argument("--hosts", type=int, action="append", help=f"how many servers; {HOSTS} by default")
    parser.add_argument("--only", choices=PEERS, action="append", help="who releases; all by default")
    arguments = parser.parse_args()
    found = []
    for hosts in sorted(arguments.hosts or HOSTS):
        found.append(summary(hosts, measure(hosts, arguments.only or list(PEERS))))
        _say(json.dumps(found[-1]))
    print(json.dumps({**found[-1], "fleets": found}))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
