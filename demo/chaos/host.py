"""
One host of a chaos run: a network namespace with sshd, a supervisor and the application in it, and a disk of its own.

What runs on it can be killed or stopped as a whole, as where a machine loses its power or hangs.
"""

from __future__ import annotations

import filecmp
import json
import os
import signal
import socket as tcp
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from demo.chaos.network import inside, processes_on
from demo.chaos.ssh import PORT as SSH_PORT
from demo.installation import BIN
from demo.processes import Program, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from demo.chaos.ssh import Keys

PORT: Final = 8080
APP: Final = "web"
DISK: Final = "24m"
CONTROL: Final = Path(__file__).with_name("control.py")


@dataclass(frozen=True)
class Call:
    """
    One call of the lifecycle command by Rollwave, as the host wrote it down.

    Attributes:
        at: When, in Unix seconds.
        action: "start" or "stop".
        verb: For which verb of which attempt, as the driver's records are called:
            ``<deployment>-<created_us>-<attempt>-<verb>``.
        edges: What each HAProxy said about the host then: its status there and the requests in flight; None where it
            did not answer.
    """

    at: float
    action: str
    verb: str
    edges: Mapping[str, tuple[str, int] | None]


class Host:
    """
    One host.

    Args:
        name: Unique; its machine has the same.
        site: Where it stands.
        address: Of its machine.
        root: The folder of all hosts.
        keys: Who gets in.
    """

    def __init__(self, name: str, *, site: str, address: str, root: Path, keys: Keys) -> None:
        self.name = name
        self.site = site
        self.address = address
        self.folder = root / name
        self.disk = self.folder / "disk"
        self.deploy_path = self.disk / APP
        # Not on the disk that runs full: what was done here is on record whatever happens to the host.
        self.record = self.folder / "lifecycle.log"
        self._keys = keys
        self._programs = [self._supervisor()]

    def _supervisor(self) -> Program:
        argv = inside(self.name, BIN / "supervisord", "--configuration", self.folder / "supervisord.conf")
        return Program(argv, log=self.folder / "supervisord.out")

    # --- life ---

    def build(self, *, group: str, edges: Mapping[str, Path]) -> None:
        """Lay it out, with an empty disk; *edges* are the runtime APIs of all HAProxys, by name."""
        self.disk.mkdir(parents=True)
        size = f"size={DISK},mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "rollwave-chaos", self.disk], check=True)
        self.record.touch()
        options = {
            "host": self.name,
            "pool": group,
            "app": APP,
            "edges": {name: str(path) for name, path in edges.items()},
            "record": str(self.record),
            "supervisor": [str(BIN / "supervisorctl"), "-c", str(self.folder / "supervisord.conf")],
        }
        (self.folder / "control.json").write_text(json.dumps(options), encoding="utf-8")
        sshd = self._keys.sshd(self.folder, address=self.address)
        self._programs.append(Program(inside(self.name, *sshd), log=self.folder / "sshd.log"))

    def boot(self) -> None:
        """Start sshd and supervisor, and with it the application where there is one; return once both answer."""
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
        for program in self._programs:
            program.start()
        until(socket.exists, what=f"the start of {self.name}'s supervisor")
        until(self._lets_in, what=f"the start of {self.name}'s sshd")

    def _lets_in(self) -> bool:
        with tcp.socket() as client:
            return client.connect_ex((self.address, SSH_PORT)) == 0

    def crash(self) -> None:
        """End everything on it at once, by SIGKILL: a verb of the driver at work, and the sshd that leads here."""
        self._signal(signal.SIGSTOP)  # what is stopped starts nothing new, so none escapes
        self._signal(signal.SIGKILL)
        until(lambda: not processes_on(self.name), what=f"the death of {self.name}")
        for program in self._programs:
            program.kill()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it hang inside the block: nothing on it runs on, and what is asked of it waits."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        done: set[int] = set()
        while new := processes_on(self.name) - done:
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
        for program in self._programs:
            program.kill()
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

    @staticmethod
    def control(root: Path, action: str) -> list[str]:
        """Return the lifecycle command of any host below *root*, as the spec of a group takes it."""
        return [sys.executable, "-IS", str(CONTROL), f"{root}/{{server}}/control.json", action]

    def calls(self) -> list[Call]:
        """Return every call of the lifecycle command by Rollwave, the first one first."""
        return [
            Call(
                at=one["at"],
                action=one["action"],
                verb=one["verb"],
                edges={name: None if seen is None else (seen[0], seen[1]) for name, seen in one["edges"].items()},
            )
            for one in map(json.loads, self.record.read_text(encoding="utf-8").splitlines())
        ]

    def fence(self) -> int:
        """Return the highest fence that the driver has written down; -1 where there is none."""
        path = self.deploy_path / ".rollwave" / "fence"
        return int(path.read_text(encoding="ascii")) if path.exists() else -1

    def fences_of_results(self) -> list[tuple[float, str, int]]:
        """Return when which verb came to its end here, and under which fence it had begun, by the driver's journal."""
        found = []
        for path in (self.deploy_path / ".rollwave" / "journal").glob("*.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["report"] is not None:
                found.append((record["at"], path.stem, record["report"]["fence"]))
        return sorted(found)
