"""Ansible: one playbook, batch by batch, with pipelining, open connections and 20 forks."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.peers.fleet import HERE, Watch

if TYPE_CHECKING:
    from tests.bench.peers.fleet import Fleet

BIN = Path(__file__).resolve().parents[3] / ".venv-ansible" / "bin"


def release(fleet: Fleet, version: str, archive: dict[str, str], *, batch: int | None = None) -> dict[str, Any]:
    """Run the playbook over all servers; return what it took."""
    home = fleet.folder / "ansible"
    home.mkdir(exist_ok=True)
    (home / "inventory.json").write_text(json.dumps(_inventory(fleet)))
    variables = {
        "batch": batch or fleet.batch,
        "pool": str(fleet.pool),
        "control": str(fleet.control),
        "admin_port": fleet.admin_port,
        "version": version,
        **archive,
    }
    (home / "variables.json").write_text(json.dumps(variables))
    argv = [
        BIN / "ansible-playbook",
        "-i",
        home / "inventory.json",
        "-e",
        f"@{home}/variables.json",
        HERE / "release.yml",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with Watch(fleet) as watch, (home / "log").open("a") as log:
        done = subprocess.run(argv, env=os.environ | _settings(fleet), stdout=log, stderr=log, check=False)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, (home / "log").read_text()[-3000:]
    fleet.require(version)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 2),
        "controller_cpu_ms_per_host": round(1000 * used / len(fleet.servers), 1),
        **watch.told(),
    }


def _settings(fleet: Fleet) -> dict[str, str]:
    site = fleet.site
    return {
        "HOME": str(fleet.folder / "ansible"),
        "ANSIBLE_HOME": str(fleet.folder / "ansible"),
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_FORKS": "20",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_SSH_ARGS": (
            f"-F none -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={site.known_hosts} "
            f"-o IdentitiesOnly=yes -o IdentityFile={site.identity}"
        ),
        # The path of a socket may not be long.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(fleet.folder / "cp"),
    }


def _inventory(fleet: Fleet) -> dict[str, Any]:
    hosts = {
        one.name: {"ansible_host": one.address, "folder": str(one.folder), "port": one.port} for one in fleet.servers
    }
    return {
        "all": {
            "hosts": hosts,
            "vars": {"ansible_port": fleet.site.port, "ansible_python_interpreter": "/usr/bin/python3"},
        }
    }
