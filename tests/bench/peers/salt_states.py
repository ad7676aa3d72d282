"""Salt states: ``salt --batch-size``, each minion by itself."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

from demo.salt import BIN, SaltLab
from tests.bench.peers.fleet import HERE, Watch, cpu_s

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.peers.fleet import Fleet


def lab(folder: Path, names: list[str]) -> SaltLab:
    """Return a master, its API and minions, where root may publish what it wants."""
    states = folder / "states"
    states.mkdir(parents=True)
    shutil.copy(HERE / "release.sls", states)
    return SaltLab(folder, names, master={"publisher_acl_blacklist": {}, "file_roots": {"base": [str(states)]}})


def release(
    salt: SaltLab, fleet: Fleet, version: str, archive: dict[str, str], *, batch: int | None = None
) -> dict[str, Any]:
    """Apply the state to all servers, in batches; return what it took."""
    pillar = {
        "root": str(fleet.folder),
        "pool": str(fleet.pool),
        "control": str(fleet.control),
        "admin_port": fleet.admin_port,
        "version": version,
        **archive,
    }
    argv = [
        *(BIN / "python", BIN / "salt", "-c", salt.folder / "master", "--batch-size", str(batch or fleet.batch)),
        *("--out", "json", "--static", "--timeout", "60", "web*", "state.apply", "release"),
        f"pillar={json.dumps({'release': pillar})}",
    ]
    before, began = _children_cpu_s() + cpu_s([salt.master]), time.monotonic()
    with Watch(fleet) as watch:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    used = _children_cpu_s() + cpu_s([salt.master]) - before
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    fleet.require(version)
    return {
        "seconds": round(seconds, 2),
        "controller_cpu_ms_per_host": round(1000 * used / len(fleet.servers), 1),
        **watch.told(),
    }


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
