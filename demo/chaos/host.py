"""
One host of a chaos run: a network namespace with a supervisor and the application in it, and a small disk of its own.

What runs on it can be killed or stopped as a whole, as where a machine loses its power or hangs; then Rollwave does not
reach it either.
"""

from __future__ import annotations

import filecmp
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from demo.chaos.network import namespace_path, processes_in
from demo.installation import BIN
from demo.processes import Program, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT: Final = 8080
APP: Final = "web"
DISK: Final = "24m"
CONTROL: Final = "control"


class Host:
    """
    One host.

    Args:
        name: Unique.
        site: Where it stands.
        address: Its own, inside its namespace.
        root: The folder of all hosts.
    """

    def __init__(self, name: str, *, site: str, address: str, root: Path) -> None:
        self.name = name
        self.site = site
        self.address = address
        self.folder = root / name
        self.disk = self.folder / "disk"
        self.deploy_path = self.disk / APP
        # Not on the disk that runs full: what was done here is on record whatever happens to the host.
        self.record = self.folder / "lifecycle.log"
        self._down = self.folder / "down"
        self._paused = self.folder / "paused"
        self._supervisor = Program(
            self._inside(BIN / "supervisord", "--configuration", self.folder / "supervisord.conf"),
            log=self.folder / "supervisord.out",
        )

    def _inside(self, *argv: str | Path) -> list[str | Path]:
        return ["nsenter", f"--net={namespace_path(self.name)}", *argv]

    # --- life ---

    def build(self) -> None:
        """Lay it out, with an empty disk."""
        self.disk.mkdir(parents=True)
        options = f"size={DISK},mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "rollwave-chaos", self.disk], check=True)
        self.record.touch()
        self._write_control()

    def _write_control(self) -> None:
        """
        Write the lifecycle command: ``control start|stop``.

        Before it does anything it writes down for which verb of which attempt: the driver lends it that verb's log.
        """
        control = self.folder / CONTROL
        supervisor = shlex.join([str(BIN / "supervisorctl"), "-c", str(self.folder / "supervisord.conf")])
        control.write_text(
            "#!/bin/sh\n"
            f'echo "$(date +%s.%N) $1 $(readlink /proc/$$/fd/1)" >>{shlex.quote(str(self.record))}\n'
            f'exec {supervisor} "$1" {APP}\n',
            encoding="utf-8",
        )
        control.chmod(0o755)

    def boot(self) -> None:
        """Start its supervisor, and with it the application where there is one; return once the supervisor answers."""
        socket = self.folder / "supervisor.sock"
        socket.unlink(missing_ok=True)
        starts = str(self.is_installed).lower()
        server = (
            f"{sys.executable} {self.deploy_path}/current/server.py --host 0.0.0.0 --port {PORT} --site {self.site} "
            f"--drain-file {self.deploy_path}/shared/drain"
        )
        (self.folder / "supervisord.conf").write_text(
            f"[supervisord]\nnodaemon=true\nlogfile={self.folder}/supervisord.log\n"
            f"pidfile={self.folder}/supervisord.pid\nchildlogdir={self.folder}\n"
            f"[unix_http_server]\nfile={socket}\n"
            f"[rpcinterface:supervisor]\n"
            f"supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{socket}\n"
            f"[program:{APP}]\ncommand={server}\ndirectory={self.deploy_path}/current\n"
            f"autostart={starts}\nautorestart=true\nstartsecs=0\nstopwaitsecs=15\n",
            encoding="utf-8",
        )
        self._supervisor.start()
        until(socket.exists, what=f"the start of {self.name}'s supervisor")
        self._down.unlink(missing_ok=True)

    def crash(self) -> None:
        """End everything on it at once, by SIGKILL; it is out of reach until it boots again."""
        self._down.touch()
        self._signal(signal.SIGSTOP)  # what is stopped starts nothing new, so none escapes
        self._signal(signal.SIGKILL)
        until(lambda: not processes_in(self.name), what=f"the death of {self.name}")
        self._supervisor.kill()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it hang inside the block: nothing on it runs on, and what is asked of it waits."""
        self._paused.touch()
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)
            self._paused.unlink()

    def _signal(self, number: signal.Signals) -> None:
        done: set[int] = set()
        while new := processes_in(self.name) - done:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            done |= new

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave no byte free on its disk inside the block."""
        filler = self.disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 12))
            yield
        finally:
            filler.unlink()

    def remove(self) -> None:
        """Take it away; nothing where there is none."""
        self._supervisor.kill()
        self._signal(signal.SIGKILL)
        if self.disk.is_mount():
            subprocess.run(["umount", "--lazy", self.disk], check=False)

    # --- what is true of it ---

    @property
    def is_installed(self) -> bool:
        """Whether it has the application."""
        return (self.deploy_path / "current").exists()

    def current(self) -> str | None:
        """Return the version that ``current`` points to."""
        link = self.deploy_path / "current"
        return link.readlink().name if link.is_symlink() else None

    def is_complete(self, version: str, build: Path) -> bool:
        """Say whether *version* is here exactly as it was built."""
        release = self.deploy_path / "releases" / version
        names = [path.name for path in build.iterdir()]
        _, wrong, missing = filecmp.cmpfiles(build, release, names, shallow=False)
        return not wrong and not missing

    def running(self) -> str | None:
        """Ask the process itself which version it runs; None where it does not answer well."""
        try:
            answer = httpx.get(f"http://{self.address}:{PORT}/healthz", timeout=2)
        except httpx.HTTPError:
            return None
        return str(answer.json()["version"]) if answer.is_success else None

    def starts(self) -> list[tuple[float, str]]:
        """Return when the application was started here by Rollwave, and for which verb of which attempt."""
        lines = [line.split() for line in self.record.read_text(encoding="utf-8").splitlines()]
        return [(float(at), Path(log).stem) for at, action, log in lines if action == "start"]


def write_way(path: Path, *, hosts: Path) -> None:
    """
    Write the interpreter that workers run the driver with: Python inside the namespace of the host whose driver it is.

    It is what SSH would be: a host that is down cannot be reached, and one that hangs does not answer.
    """
    folder = shlex.quote(str(hosts))
    path.write_text(
        "#!/bin/sh\n"
        f"host=${{2#{folder}/}}\nhost=${{host%%/*}}\n"
        f'while [ -e {folder}/"$host"/paused ]; do sleep 0.1; done\n'
        f'if [ -e {folder}/"$host"/down ]; then echo "$host is down" >&2; exit 255; fi\n'
        f'exec nsenter --net={namespace_path("")}"$host" {shlex.quote(sys.executable)} "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
