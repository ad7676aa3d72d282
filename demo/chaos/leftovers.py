"""What a run that was killed left behind: processes, mounts, folders and the network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from demo.chaos.network import remove_network


def remove_leftovers(prefix: str, *, but: Path) -> None:
    """Remove what earlier runs left, whose folders begin with *prefix*. Call only where no other run goes on."""
    remove_network()
    for folder in Path(tempfile.gettempdir()).glob(prefix + "*"):
        if folder != but:
            sweep(folder)
            shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """End every process of *folder*, and unmount what is mounted below it."""
    while pids := _processes_of(folder):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for mount in _mounts_below(folder):
        subprocess.run(["umount", "--lazy", mount], check=False)


def _processes_of(folder: Path) -> set[int]:
    """Return every process that works in *folder*, or was started with its name."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            told = (process / "cmdline").read_bytes()
            if os.fsencode(folder) in told or (process / "cwd").readlink().is_relative_to(folder):
                found.add(int(process.name))
    return found


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [line.split()[1] for line in lines if Path(line.split()[1]).is_relative_to(folder)]
